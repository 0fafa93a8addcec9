use guest::Fact;

use super::*;
use crate::judge::Fault;

fn counted(one: u64, two: u64, nfsd: u64) -> Event {
    Event::Counted(Counts {
        clients: [("0:29".to_owned(), one), ("0:30".to_owned(), two)].into(),
        nfsd,
    })
}

/// 100 bytes through one mount and 50 through the other, after 7 and 7.
fn judged(nfsd: u64, page: &str) -> Judgement {
    let events = [
        counted(7, 7, 14),
        counted(107, 57, 14 + nfsd),
        Event::Served {
            path: "/metrics".to_owned(),
            ms: 1,
            text: page.to_owned(),
        },
    ];
    let facts: Vec<_> = events
        .into_iter()
        .map(|event| Fact { ms: 1, event })
        .collect();
    Seen(&facts).counters()
}

fn page(sent: u64, acked: u64, nfsd: u64) -> String {
    format!(
        "throttle_nfs_write_sent_bytes_total{{bdi=\"0:29\"}} {sent}\n\
         throttle_nfs_write_sent_bytes_total{{bdi=\"0:30\"}} 50\n\
         throttle_nfs_write_acked_bytes_total{{bdi=\"0:29\"}} 100\n\
         throttle_nfs_write_acked_bytes_total{{bdi=\"0:30\"}} {acked}\n\
         throttle_nfsd_written_bytes_total {nfsd}\n"
    )
}

#[test]
fn bytes_must_be_equal() {
    assert!(judged(150, &page(100, 50, 150)).is_ok());
    assert!(judged(150, &page(99, 50, 150)).is_err());
    assert!(judged(150, &page(100, 57, 150)).is_err());
    assert!(judged(150, &page(100, 50, 164)).is_err());
    assert!(judged(150, "").is_err());
}

#[test]
fn without_bytes_a_scenario_proves_nothing() {
    assert!(matches!(judged(0, &page(100, 50, 0)), Err(Fault::Void(_))));
}
