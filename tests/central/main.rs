//! Central's side: subscriptions, keys and tokens, proxies, faults; and the simulator, with HPE's own clients.

mod credentials;
mod faults;
mod hpe_clients;
mod proxies;
mod simulator_classic;
mod simulator_new;
mod subscriptions;
mod tenants;
