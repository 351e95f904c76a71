//! What the stories are told with: a control plane with a controller, a team
//! with a namespace and a Git server, and waiting for what is to be seen.

mod fixtures;
mod site;
mod team;
mod wait;

pub use fixtures::{config_map, deployment, many_config_maps, secret, yaml};
pub use site::{Controller, Site, Start};
pub use team::{Application, Team, Watched};
pub use wait::{LIMIT, eventually};
