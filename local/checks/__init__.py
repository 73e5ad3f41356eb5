"""The checks of `make check`, `make contracts` and `make audit`.

The modules `bootstrap` and `installer` beside this package know the environments and services.
"""
