"""The engine of a Kubernetes cluster: every server is a Deployment, a volume for each generation of its world, a
Service and a Secret."""
