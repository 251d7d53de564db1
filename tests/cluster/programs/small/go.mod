// What the test cluster needs of its own: the sandbox of a pod, and a pod that answers.
module overworld.test/small

go 1.26.0
