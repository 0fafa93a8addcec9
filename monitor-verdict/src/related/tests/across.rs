//! Tests of the edges of loops across nodes.

use std::sync::Arc;

use monitor_common::Class;
use monitor_model::{observation::Observation, testing};

use super::limit_held::{LIMIT, dead_server, paused};
use super::scene::{CLIENT, DISK, MB, Scene, answered};
use crate::tests::node::wait;

/// A node that mounts another one's export, and serves.
fn scene() -> Scene {
    let mut scene = Scene::new();
    let topology = Arc::make_mut(&mut scene.now.topology);
    topology.mounts = vec![testing::mount(CLIENT)];
    scene
}

/// The other node answers nothing, and nfsd here waits for the limit that its mount fills.
fn frozen(now: &mut Observation) {
    dead_server(now, LIMIT);
    paused(now, Class::Nfsd, DISK, LIMIT, 200_000);
    now.waits.push(wait(700, Class::Nfsd, DISK));
}

#[test]
fn a_mount_is_blocked_while_its_pages_stop_this_nodes_own_server() {
    let mut scene = scene();
    scene.play(3, frozen);
    let edge = |scene: &Scene| scene.engine.remote()[0].clone();
    assert!(
        !edge(&scene).blocked,
        "one burst that fills the limit is none"
    );
    scene.play(9, frozen);
    let one = edge(&scene);
    assert!(one.blocked);
    assert_eq!((&*one.bdi, &*one.mount), (CLIENT, "/mnt"));
    assert_eq!(one.held_bytes, Some(LIMIT));
    scene.play(5, |now| {
        answered(now, 20 * MB);
        now.bdis[0].writeback_bytes = Some(0);
        now.memory.dirty_bytes = Some(0);
    });
    assert!(!edge(&scene).blocked);
}

#[test]
fn it_is_not_blocked_while_only_local_writers_wait_or_while_its_pages_move() {
    let mut local = scene();
    local.play(20, |now| dead_server(now, LIMIT));
    assert!(!local.engine.remote()[0].blocked);
    let mut moves = scene();
    moves.play(20, |now| {
        frozen(now);
        answered(now, 20 * MB);
    });
    assert!(!moves.engine.remote()[0].blocked);
}
