//! The guest ABI of Talea.
#![no_std]
