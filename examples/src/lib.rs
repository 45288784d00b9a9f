//! Runnable hosts; each file in this folder is one example.
