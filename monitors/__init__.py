"""Weekly statistics without IO: series, drop test, attribution, alert state."""
