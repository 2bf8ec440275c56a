"""The ``dynakv`` command."""
