"""Looking a data set over before it is trained or measured on."""
