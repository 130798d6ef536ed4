//! Peers, faults and the checker that the demo, the tests and the benches share.
