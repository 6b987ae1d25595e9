"""One file per controller. The core finds them by name and never names one itself."""
