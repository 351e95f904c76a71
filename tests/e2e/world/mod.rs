//! What the stories are told with: a control plane with a controller, a team
//! with a namespace and a Git server, and waiting for what is to be seen.

mod asks;
mod fixtures;
mod ordinary;
mod site;
mod team;
mod wait;

pub use asks::{rollback_request, sync_request};
pub use fixtures::{config_map, deployment, many_config_maps, secret, yaml};
pub use ordinary::thousand_ordinary_objects;
pub use site::{Controller, SYSTEM, Site, Start};
pub use team::{Application, Team, Watched, is_synced};
pub use wait::{LIMIT, eventually};
