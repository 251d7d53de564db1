"""Makes the world match the rows. The only role that creates or deletes anything; one is active, others stand by."""
