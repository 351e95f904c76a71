//! What the conventions say of conditions, words, flags and counts.

use rstest::rstest;

use crate::health::HealthStatus::{self, Degraded, Healthy, Progressing, Suspended};
use crate::health::core::tests::object;
use crate::health::{Evidence, Health, assess, assess_with};

fn judge(rest: &str) -> Health {
    assess(&object("example.com/v1", "Widget", rest))
}

#[rstest]
#[case::nothing_but_a_spec("spec: {size: 3}", Healthy, "")]
#[case::stored_without_status("metadata: {uid: u}", Healthy, "")]
#[case::null_status("status:", Healthy, "")]
#[case::empty_status("status: {}", Progressing, "its controller has not written a status yet")]
#[case::status_of_empty_fields("status: {conditions: []}", Progressing, "its controller has not written a status yet")]
#[case::defaulted_status(
    "{metadata: {generation: 1}, status: {observedGeneration: -1}}",
    Progressing,
    "its controller has not written a status yet"
)]
#[case::status_without_a_sign("status: {address: 192.0.2.1}", Healthy, "")]
#[case::generation(
    "{metadata: {generation: 4}, status: {observedGeneration: 3, conditions: [{type: Ready, status: 'True'}]}}",
    Progressing,
    "its controller has not seen generation 4 yet (observed 3)"
)]
#[case::suspended(
    "{spec: {suspend: true}, status: {conditions: [{type: Ready, status: 'False', reason: Failed}]}}",
    Suspended,
    "spec.suspend is true"
)]
#[case::paused("spec: {paused: true}", Suspended, "spec.paused is true")]
#[case::paused_by_annotation(
    "metadata: {annotations: {widgets.example.com/paused: 'true'}}",
    Suspended,
    "is paused by its annotation widgets.example.com/paused"
)]
#[case::paused_for_another_project("metadata: {annotations: {gitops.example.org/paused: 'true'}}", Healthy, "")]
fn what_stands_beside_the_status_comes_first(#[case] rest: &str, #[case] status: HealthStatus, #[case] reason: &str) {
    assert_eq!(judge(rest), Health::new(status, reason));
}

#[rstest]
#[case(Some(true), Progressing)]
#[case(Some(false), Healthy)]
#[case(None, Healthy)]
fn discovery_tells_whether_a_status_is_to_come(#[case] status_subresource: Option<bool>, #[case] status: HealthStatus) {
    let evidence = Evidence { status_subresource, ..Evidence::default() };
    let widget = object("example.com/v1", "Widget", "spec: {size: 3}");
    assert_eq!(assess_with(&widget, &evidence).status, status);
}

#[rstest]
#[case::ready("[{type: Ready, status: 'True'}]", Healthy, "")]
#[case::ready_as_a_flag("[{type: Ready, status: true}]", Healthy, "")]
#[case::ready_of_an_old_generation(
    "[{type: Ready, status: 'True', observedGeneration: 1}]",
    Progressing,
    "Ready is of generation 1, and its controller has not seen generation 2 yet"
)]
#[case::unknown("[{type: Ready, status: Unknown, message: looking}]", Progressing, "Ready is Unknown: looking")]
#[case::failed(
    "[{type: Ready, status: 'False', reason: ApplyFailed, message: no rights}]",
    Degraded,
    "Ready is False: ApplyFailed: no rights"
)]
#[case::without_a_reason("[{type: Ready, status: 'False'}]", Degraded, "Ready is False")]
#[case::on_its_way(
    "[{type: Ready, status: 'False', reason: Provisioning}]",
    Progressing,
    "Ready is False: Provisioning"
)]
#[case::waits_for_another(
    "[{type: Ready, status: 'False', reason: DependencyNotReady}]",
    Progressing,
    "Ready is False: DependencyNotReady"
)]
#[case::told_by_the_message(
    "[{type: Ready, status: 'False', reason: NotReady, message: waiting for the load balancer}]",
    Progressing,
    "Ready is False: NotReady: waiting for the load balancer"
)]
#[case::message_of_a_failure(
    "[{type: Ready, status: 'False', message: could not find the secret}]",
    Degraded,
    "Ready is False: could not find the secret"
)]
#[case::switched_off("[{type: Ready, status: 'False', reason: Suspended}]", Suspended, "Ready is False: Suspended")]
#[case::severity_info("[{type: Ready, status: 'False', reason: X, severity: Info}]", Progressing, "Ready is False: X")]
#[case::severity_error(
    "[{type: Ready, status: 'False', reason: Waiting, severity: Error}]",
    Degraded,
    "Ready is False: Waiting"
)]
#[case::stalled(
    "[{type: Ready, status: Unknown}, {type: Stalled, status: 'True', reason: BadSpec}]",
    Degraded,
    "Stalled is True: BadSpec"
)]
#[case::reconciling(
    "[{type: Ready, status: 'True'}, {type: Reconciling, status: 'True', reason: NewSpec}]",
    Progressing,
    "Reconciling is True: NewSpec"
)]
#[case::not_ready_but_working(
    "[{type: Ready, status: 'False'}, {type: Progressing, status: 'True'}]",
    Progressing,
    "Ready is False"
)]
#[case::degraded(
    "[{type: Available, status: 'True'}, {type: Degraded, status: 'True', reason: OneDown}]",
    Degraded,
    "Degraded is True: OneDown"
)]
#[case::not_degraded("[{type: Degraded, status: 'False'}]", Healthy, "")]
#[case::rolled_out(
    "[{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: NewReplicaSetAvailable}]",
    Healthy,
    ""
)]
#[case::rolling_out(
    "[{type: Available, status: 'True'}, {type: Progressing, status: 'True', reason: ReplicaSetUpdated}]",
    Progressing,
    "Progressing is True: ReplicaSetUpdated"
)]
#[case::progress_failed(
    "[{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]",
    Degraded,
    "Progressing is False: ProgressDeadlineExceeded"
)]
#[case::a_failure_by_another_name(
    "[{type: ReplicaFailure, status: 'True', reason: FailedCreate}]",
    Degraded,
    "ReplicaFailure is True: FailedCreate"
)]
#[case::paused("[{type: Paused, status: 'True'}]", Suspended, "Paused is True")]
#[case::waits_for_what_failed(
    "[{type: Ready, status: 'False', reason: Creating}, {type: Synced, status: 'False', reason: ReconcileError, message: no rights}]",
    Degraded,
    "Synced is False: ReconcileError: no rights"
)]
#[case::a_part_is_progressing(
    "[{type: Initialized, status: 'True'}, {type: NodesProgressing, status: 'True'}]",
    Progressing,
    "NodesProgressing is True"
)]
#[case::synced_and_not(
    "[{type: Ready, status: 'True'}, {type: Synced, status: 'False', reason: ReconcileError}]",
    Degraded,
    "Synced is False: ReconcileError"
)]
#[case::succeeded("[{type: Succeeded, status: 'True'}]", Healthy, "")]
#[case::running("[{type: Succeeded, status: Unknown, reason: Running}]", Progressing, "Succeeded is Unknown: Running")]
#[case::did_not_succeed("[{type: Succeeded, status: 'False', reason: Failed}]", Degraded, "Succeeded is False: Failed")]
#[case::complete("[{type: Complete, status: 'True'}]", Healthy, "")]
#[case::over_and_failed("[{type: Completed, status: 'True', reason: Failed}]", Degraded, "Completed is True: Failed")]
#[case::not_complete("[{type: Complete, status: 'False'}]", Progressing, "Complete is False")]
#[case::another_word(
    "[{type: Available, status: Degraded, reason: SomePodsNotReady}]",
    Degraded,
    "Available is Degraded: SomePodsNotReady"
)]
#[case::turned_round("[{type: NotReady, status: 'True', reason: Creating}]", Progressing, "Ready is False: Creating")]
#[case::another_condition_of_an_old_generation(
    "[{type: Available, status: 'True', observedGeneration: 1}]",
    Progressing,
    "Available is of generation 1, and its controller has not seen generation 2 yet"
)]
#[case::unknown_type_that_failed(
    "[{type: ReadyToSyncSecrets, status: 'False', reason: Error, message: no token}]",
    Degraded,
    "ReadyToSyncSecrets is False: Error: no token"
)]
#[case::unknown_type_beside_a_known_one(
    "[{type: RetrievedUpdates, status: 'False', reason: RemoteFailed}, {type: Available, status: 'True'}]",
    Healthy,
    ""
)]
#[case::only_unknown_types("[{type: Upgradeable, status: 'False'}]", Healthy, "")]
fn conditions_are_read_by_type_status_and_reason(
    #[case] conditions: &str,
    #[case] status: HealthStatus,
    #[case] reason: &str,
) {
    let health = judge(&format!("{{metadata: {{generation: 2}}, status: {{conditions: {conditions}}}}}"));
    assert_eq!(health, Health::new(status, reason));
}

#[rstest]
#[case("{phase: Running}", Healthy, "")]
#[case("{state: active}", Healthy, "")]
#[case("{health: green}", Healthy, "")]
#[case("{health: {status: Progressing, message: rolling}}", Progressing, "health is Progressing")]
#[case("{status: Pending}", Progressing, "status is Pending")]
#[case("{phase: Failed, message: disk full}", Degraded, "phase is Failed: disk full")]
#[case("{phase: Running, health: red}", Degraded, "health is red")]
#[case("{state: STOPPED}", Suspended, "state is STOPPED")]
#[case(
    "{phase: Ready, conditions: [{type: Available, status: 'False', reason: X}]}",
    Degraded,
    "Available is False: X"
)]
#[case("{phase: Provisioning, conditions: [{type: Ready, status: 'False'}]}", Progressing, "Ready is False")]
#[case("{phase: Error, conditions: [{type: Ready, status: 'False', reason: Reconciling}]}", Degraded, "phase is Error")]
#[case("{ready: true}", Healthy, "")]
#[case("{ready: 'False'}", Progressing, "status.ready is False")]
#[case("{ready: 1/3}", Progressing, "status.ready is 1/3")]
#[case("{ready: 3/3}", Healthy, "")]
#[case("{errors: [no such zone]}", Degraded, "no such zone")]
#[case("{replicas: 1}", Progressing, "1 of 2 replicas there")]
#[case("{phase: ImagePullBackOff}", Degraded, "phase is ImagePullBackOff")]
#[case("{phase: ScaledToZero}", Suspended, "phase is ScaledToZero")]
#[case("{phase: Bootstrap}", Progressing, "phase is Bootstrap")]
#[case("{state: ROLLBACK_COMPLETE}", Degraded, "state is ROLLBACK_COMPLETE")]
#[case("{ready: false}", Progressing, "status.ready is false")]
#[case("{error: no such zone}", Degraded, "no such zone")]
#[case("{readyReplicas: 1}", Progressing, "1 of 2 replicas ready")]
#[case("{readyReplicas: 2}", Healthy, "")]
#[case(
    "{parents: [{conditions: [{type: Accepted, status: 'False', reason: NotAllowedByListeners}]}]}",
    Degraded,
    "Accepted is False: NotAllowedByListeners"
)]
fn words_flags_and_counts_are_read_where_conditions_are_silent(
    #[case] status_field: &str,
    #[case] status: HealthStatus,
    #[case] reason: &str,
) {
    let health = judge(&format!("{{spec: {{replicas: 2}}, status: {status_field}}}"));
    assert_eq!(health, Health::new(status, reason));
}

#[rstest]
#[case("{conditions: [{type: Healthy, status: 'True'}, {type: UpdateAvailable, status: 'False'}]}", Healthy)]
#[case("{conditions: [{type: Healthy, status: 'True'}, {type: TLSEnabled, status: 'False'}]}", Healthy)]
#[case("{conditions: [{type: Healthy, status: 'True'}, {type: ImageAvailable, status: 'False'}]}", Degraded)]
#[case("{conditions: [{type: Healthy, status: 'False'}, {type: UpdateAvailable, status: 'True'}]}", Degraded)]
#[case("{phase: Abnormal}", Degraded)]
#[case("{status: OutOfSync}", Progressing)]
#[case("{status: InSync}", Healthy)]
fn an_offer_or_a_switch_that_is_off_is_no_failure(#[case] status: &str, #[case] expected: HealthStatus) {
    assert_eq!(judge(&format!("status: {status}")).status, expected);
}
