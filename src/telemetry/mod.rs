//! t
use std::time::Duration;
use crate::{api::*, cluster::OwnerKey, health::HealthStatus};
/// m
#[derive(Default, Debug)]
pub struct Metrics;
#[allow(missing_docs)]
impl Metrics {
 pub fn step_failed(&self){} pub fn rendered(&self,_:Duration){} pub fn planned(&self,_:Duration){} pub fn applied(&self,_:Duration){}
 pub fn release_began(&self,_:Cause){} pub fn release_ended(&self,_:Cause,_:Phase){} pub fn repaired(&self,_:u32){}
 pub fn application(&self,_:&OwnerKey,_:Option<SyncStatus>,_:Option<HealthStatus>){} pub fn leads(&self,_:bool){} pub fn forget_application(&self,_:&OwnerKey){}
}
