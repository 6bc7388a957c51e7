//! Gossip in a small mesh: its settings, and how peers are scored.
//!
//! The library's defaults are for thousands of peers and busy topics. Here a network may be two nodes, and a topic
//! may be silent for minutes: silence is never held against a peer, nor are many nodes on one machine, but an invalid
//! message is, strongly.

use std::time::Duration;

use libp2p::gossipsub::{
    Config, ConfigBuilder, ConfigBuilderError, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode,
};
use talea_ledger::NetworkId;

use crate::topics::{GOSSIP_LEN_MAX, Topic, Topics, message_id, namespace};

/// Between two looks at the mesh: how long a peer may stay outside of it, and how long a lost message may wait
/// for the next exchange of names.
const HEARTBEAT: Duration = Duration::from_millis(700);

/// Peers in the mesh of each topic: two of four may be slow or lying.
const MESH: usize = 4;
const MESH_LOW: usize = 2;
const MESH_HIGH: usize = 8;
/// Of those, peers that this node has dialled: nobody can surround it by dialling it.
const MESH_DIALLED: usize = 1;
// The library checks these for topics with a length of their own only; here they are checked for all.
const _: () = assert!(MESH_DIALLED <= MESH_LOW && MESH_LOW <= MESH && MESH <= MESH_HIGH);
const _: () = assert!(2 * MESH_DIALLED <= MESH);

/// How long a message is known after it came: longer than a message can wander, with its verdicts.
const KNOWN: Duration = Duration::from_secs(120);
/// Heartbeats for which a message can be asked for again, and passed on by a late verdict: 8 seconds.
const HISTORY: usize = 12;
/// Heartbeats of messages whose names are told to peers outside of the mesh.
const HISTORY_TOLD: usize = 4;

/// What surrounds a message on the wire: the topic's name and three heads.
const MESSAGE_ROOM: usize = 128;
/// Names of messages that are told or asked for at once.
const NAMES_MAX: usize = 5000;
/// Longest control in one transfer: that many names of 20 bytes with their heads, and the topic's name. The library's own
/// bound is a seventh of it, and a busy honest peer that goes beyond it would never be heard again.
const CONTROL_LEN_MAX: usize = NAMES_MAX * (20 + 2) + 1024;
/// What may lie beside a message in one transfer: control, and subscriptions.
const RPC_ROOM: usize = CONTROL_LEN_MAX + 16 * 1024;

/// Score below which a peer is told no names of messages and believed none: two invalid messages.
const GOSSIP_THRESHOLD: f64 = -50.0;
/// Score below which own messages are not sent to it either: four invalid messages.
const PUBLISH_THRESHOLD: f64 = -200.0;
/// Score below which it is not listened to at all, and cut off by the task.
pub(crate) const GRAYLIST_THRESHOLD: f64 = -500.0;

/// What invalid messages cost, times the square of their number: the first one takes a peer out of the mesh for a
/// while, six (-720) end it even if it was the best of peers before.
const INVALID_WEIGHT: f64 = -20.0;

/// The settings of gossip.
pub(crate) fn config(network: &NetworkId, topics: &Topics) -> Result<Config, ConfigBuilderError> {
    let mut builder = ConfigBuilder::default();
    builder
        .protocol_id_prefix(format!("{}/gossip", namespace(network)))
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(message_id)
        .validate_messages()
        .heartbeat_interval(HEARTBEAT)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .history_length(HISTORY)
        .history_gossip(HISTORY_TOLD)
        .duplicate_cache_time(KNOWN)
        // To everybody who listens, not to the mesh alone: in a small network the first hop then reaches most.
        .flood_publish(true)
        .mesh_n(MESH)
        .mesh_n_low(MESH_LOW)
        .mesh_n_high(MESH_HIGH)
        .mesh_outbound_min(MESH_DIALLED)
        .max_transmit_size(GOSSIP_LEN_MAX + RPC_ROOM)
        .max_control_message_size(CONTROL_LEN_MAX)
        .max_control_messages_sent(NAMES_MAX)
        // A peer that left the mesh may come back after seconds: there are few others.
        .prune_backoff(Duration::from_secs(5))
        .unsubscribe_backoff(Duration::from_secs(2))
        .graft_flood_threshold(Duration::from_secs(2))
        .connection_handler_queue_len(2048)
        .publish_queue_duration(Duration::from_secs(5))
        .forward_queue_duration(Duration::from_secs(3));
    for topic in Topic::ALL {
        builder.max_transmit_size_for_topic(
            topic.len_max() + MESSAGE_ROOM,
            topics.hash(topic).clone(),
        );
    }
    builder.build()
}

/// How peers are scored.
pub(crate) fn scores(topics: &Topics) -> (PeerScoreParams, PeerScoreThresholds) {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        // Time in the mesh: little, so that it excuses nothing.
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        // First to bring a message: what a peer is worth in a mesh.
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 40.0,
        // Messages that a mesh peer did not bring: a quiet topic would punish everybody.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: INVALID_WEIGHT,
        // Half of it is forgotten after nine minutes, at one decay a second.
        invalid_message_deliveries_decay: 0.9987,
        ..TopicScoreParams::default()
    };
    let params = PeerScoreParams {
        topics: Topic::ALL.into_iter().map(|t| (topics.hash(t).clone(), topic.clone())).collect(),
        topic_score_cap: 100.0,
        // What the task holds against a peer counts as it is.
        app_specific_weight: 1.0,
        // Nodes of one machine or home share an address; their number is bounded where they connect.
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: -10.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.97,
        decay_interval: Duration::from_secs(1),
        retain_score: Duration::from_secs(3600),
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        gossip_threshold: GOSSIP_THRESHOLD,
        publish_threshold: PUBLISH_THRESHOLD,
        graylist_threshold: GRAYLIST_THRESHOLD,
        accept_px_threshold: 100.0,
        opportunistic_graft_threshold: 2.0,
    };
    (params, thresholds)
}
