//! Central's side: subscriptions, keys and tokens, proxies, faults; and the simulator, with HPE's own clients.

mod accounts;
mod breaks;
mod credentials;
mod faults;
mod frames;
mod handshake;
mod hpe_clients;
mod proxies;
mod renewals;
mod simulator_classic;
mod simulator_new;
mod stand;
mod tenants;
mod tokens;
