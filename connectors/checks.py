"""System checks of the declarations."""
