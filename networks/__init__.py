"""Plain torch building blocks that two or more methods use."""
