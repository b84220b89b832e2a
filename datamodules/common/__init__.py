"""What all data sets share: files, loaders, resizing, reports, errors."""
