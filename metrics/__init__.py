"""torchmetrics.Metric subclasses for what torchmetrics lacks; exact under DDP."""
