use guest::Fact;

use super::*;

#[test]
fn what_breaks_down_before_the_daemon_began_is_not_the_daemons() {
    let step = |step: &guest::Step| Fact {
        ms: 1000,
        event: Event::Step(serde_json::to_string(step).unwrap()),
    };
    let modprobe = step(&guest::Step::Modprobe(vec!["nfs".to_owned()]));
    let args = || vec!["check".to_owned()];
    let check = step(&guest::Step::Check {
        args: args(),
        uid: None,
    });
    let daemon = step(&guest::Step::Daemon { args: args() });
    assert!(!Seen(std::slice::from_ref(&modprobe)).has_ours());
    assert!(Seen(&[modprobe.clone(), check]).has_ours());
    assert!(Seen(&[modprobe, daemon]).has_ours());
}
