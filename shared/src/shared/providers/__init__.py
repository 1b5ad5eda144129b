"""Registration platforms, one folder each, behind one port; only `client` modules do I/O."""
