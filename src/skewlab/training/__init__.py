"""One run: the LightningModule, what Lightning calls, and where a run stops and goes on."""
