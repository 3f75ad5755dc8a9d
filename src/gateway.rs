//! The event loop: the clock, channels, shutdown.
