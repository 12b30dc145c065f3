//! Ranks as threads that meet on this machine, and what else may call.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::connection::CHUNK;
use super::meeting::{CALL, GREETING, MAGIC, PAUSE, RUN_DIGEST};
use super::*;

fn meeting(rank: usize, size: usize, port: u16) -> Meeting {
    Meeting {
        rank,
        size,
        host: "127.0.0.1".into(),
        port,
        run: "a".repeat(RUN_DIGEST),
        meet_seconds: 20.0,
        silence_seconds: 20.0,
    }
}

/// A port that is free now.
fn free_port() -> u16 {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    door.local_addr().unwrap().port()
}

/// What each of `size` ranks gives that meet and then do `work`.
fn ranks<T: Send>(size: usize, work: impl Fn(Star) -> T + Sync) -> Vec<T> {
    let port = free_port();
    let work = &work;
    thread::scope(|scope| {
        let of = |rank| {
            let meeting = meeting(rank, size, port);
            scope.spawn(move || work(Star::meet(&meeting, &Abort::default()).unwrap()))
        };
        let all: Vec<_> = (0..size).map(of).collect();
        all.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn sums_are_those_in_the_order_of_ranks_and_the_same_everywhere() {
    // More than a chunk, and not associative: (1e8 + 1) − 1e8 differs from 1e8 + (1 − 1e8).
    let parts = [1e8f32, 1.0, -1e8];
    let len = CHUNK / 4 + 3;
    let sums = ranks(3, |mut star| {
        let abort = Abort::default();
        let mut values: Vec<f32> = vec![parts[star.rank()]; len];
        values[len - 1] = star.rank() as f32;
        let mut counts = [star.rank() as f64, 0.5];
        star.sum(&mut values, &mut counts, &abort).unwrap();
        star.sum(&mut [], &mut [], &abort).unwrap();
        (values, counts)
    });
    let mut expected = vec![(parts[0] + parts[1]) + parts[2]; len];
    expected[len - 1] = 3.0;
    for sum in sums {
        let at = sum.0.iter().zip(&expected).position(|(a, b)| a != b);
        assert_eq!((at, sum.1), (None, [3.0, 1.5]));
    }
}

#[test]
fn what_rank_0_has_comes_to_all() {
    let all = ranks(3, |mut star| {
        let (abort, own) = (Abort::default(), star.rank() as f32 + 7.0);
        let mut values = vec![own; 5];
        star.broadcast(&mut values, &abort).unwrap();
        let text = format!("of rank {} ✓", star.rank());
        (values, star.told_by_first(&text, &abort).unwrap())
    });
    for told in all {
        assert_eq!(told, (vec![7.0; 5], "of rank 0 ✓".to_owned()));
    }
}

#[test]
fn a_rank_that_ends_ends_the_others_and_is_named() {
    let errors = ranks(3, |mut star| {
        let abort = Abort::default();
        star.sum(&mut [1.0], &mut [], &abort).unwrap();
        if star.rank() == 1 {
            return None; // its connection is closed, as when it is killed
        }
        let error = star.sum(&mut [1.0], &mut [], &abort).unwrap_err();
        let again = star.sum(&mut [1.0], &mut [], &abort).unwrap_err();
        assert_eq!(again.code(), error.code());
        Some((error.code(), error.to_string()))
    });
    for error in [0, 2].map(|rank| errors[rank].clone().unwrap()) {
        assert_eq!(error.0, "BPEFT_RANK_LOST");
        assert!(error.1.starts_with("rank 1 is lost: "), "{}", error.1);
    }
}

#[test]
fn rank_0_that_ends_is_lost_to_the_others() {
    let errors = ranks(3, |mut star| {
        let is_first = star.rank() == 0;
        (!is_first).then(|| {
            star.sum(&mut [1.0], &mut [], &Abort::default())
                .unwrap_err()
        })
    });
    for error in errors.into_iter().flatten() {
        assert!(error.to_string().starts_with("rank 0 is lost: "), "{error}");
    }
}

#[test]
fn what_stops_one_stops_all_by_its_own_code_before_they_have_a_sum() {
    let values = ranks(3, |mut star| {
        let (abort, mut values) = (Abort::default(), [1.0]);
        let error = if star.rank() == 2 {
            let layer = "layers.0.q_proj".into();
            let error = Error::NotFinite {
                step: 3,
                what: "loss",
                layer,
            };
            star.stop(&error);
            error
        } else {
            star.sum(&mut values, &mut [], &abort).unwrap_err()
        };
        (error.code(), error.to_string())
    });
    let own = "step 3: loss is not finite (first seen in layers.0.q_proj)";
    let told = format!("rank 2: {own}");
    for (at, text) in [told.as_str(), told.as_str(), own].into_iter().enumerate() {
        assert_eq!(values[at], ("BPEFT_NOT_FINITE", text.to_owned()));
    }
}

#[test]
fn one_that_is_asked_to_stop_while_it_waits_stops_all() {
    for stopped in [0, 1] {
        let codes = ranks(3, |mut star| {
            let abort = Abort::default();
            if star.rank() == stopped {
                abort.abort();
            }
            if stopped == 0 && star.rank() == 2 {
                thread::sleep(Duration::from_millis(300)); // rank 0 waits for it
            }
            star.sum(&mut [1.0], &mut [], &abort).unwrap_err().code()
        });
        assert_eq!(codes, ["BPEFT_ABORTED"; 3]);
    }
}

#[test]
fn a_rank_that_does_something_else_ends_all() {
    let codes = ranks(2, |mut star| {
        let mut values = vec![1.0; 1 + star.rank()];
        star.sum(&mut values, &mut [], &Abort::default())
            .unwrap_err()
            .code()
    });
    assert_eq!(codes, ["BPEFT_RANKS"; 2]);
}

#[test]
fn who_is_busy_is_waited_for_and_who_is_silent_is_not() {
    let port = free_port();
    let quick = |rank| Meeting {
        silence_seconds: 0.6,
        ..meeting(rank, 2, port)
    };
    let (tell, hear) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut star = Star::meet(&quick(1), &Abort::default()).unwrap();
            thread::sleep(Duration::from_secs(2)); // its beats go on
            star.sum(&mut [1.0], &mut [], &Abort::default()).unwrap();
            star.beats.are_paused(true);
            let _ = hear.recv();
        });
        let mut star = Star::meet(&quick(0), &Abort::default()).unwrap();
        star.sum(&mut [1.0], &mut [], &Abort::default()).unwrap();
        let error = star
            .sum(&mut [1.0], &mut [], &Abort::default())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "rank 1 is lost: nothing was heard of it for 0.6 s"
        );
        drop(tell);
    });
}

/// How rank 0 of two ranks and who calls it fare; `call` has its port.
fn rank_0(meet_seconds: f64, call: impl FnOnce(u16) + Send) -> Result<usize> {
    let first = Meeting {
        meet_seconds,
        ..meeting(0, 2, free_port())
    };
    thread::scope(|scope| {
        let port = first.port;
        scope.spawn(move || call(port));
        first
            .connections(&Abort::default())
            .map(|connections| connections.len())
    })
}

fn knock(port: u16) -> TcpStream {
    loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            return stream;
        }
        thread::sleep(PAUSE);
    }
}

#[test]
fn strangers_are_dropped_and_the_rank_still_gets_in() {
    let connections = rank_0(20.0, |port| {
        let mut talker = knock(port);
        talker.write_all(&[b'x'; CALL]).unwrap();
        drop(knock(port)); // gone at once
        let mut replayed = knock(port);
        let mut greeting = [0; GREETING];
        replayed.read_exact(&mut greeting).unwrap();
        let mut call = [0; CALL];
        call[..8].copy_from_slice(&MAGIC); // not the nonce that was just given
        replayed.write_all(&call).unwrap();
        assert_eq!(replayed.read(&mut greeting).unwrap_or(0), 0);
        meeting(1, 2, port).connections(&Abort::default()).unwrap();
    });
    assert_eq!(connections.unwrap(), 1);
}

#[test]
fn a_rank_of_another_run_size_or_place_is_turned_away_and_told_why() {
    let own = |port| meeting(1, 2, port);
    let other_run = |port| Meeting {
        run: "b".repeat(RUN_DIGEST),
        ..own(port)
    };
    for (what, of) in [
        (
            "is of another run",
            &other_run as &(dyn Fn(u16) -> Meeting + Sync),
        ),
        ("it is of 3 ranks, not of 2", &|port| meeting(1, 3, port)),
    ] {
        let error = rank_0(0.5, |port| {
            let error = of(port).connections(&Abort::default()).err().unwrap();
            assert_eq!(error.code(), "BPEFT_RANKS");
            assert!(error.to_string().contains(what), "{error}");
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("missing: 1; 127.0.0.1:"), "{error}");
        assert!(error.contains(what), "{error}");
    }
    let both = rank_0(20.0, |port| {
        thread::scope(|scope| {
            let call = move || {
                let brief = Meeting {
                    meet_seconds: 1.0,
                    ..meeting(1, 2, port)
                };
                brief.connections(&Abort::default()).map(|_| ())
            };
            let two = [scope.spawn(call), scope.spawn(call)].map(|one| one.join().unwrap());
            assert!(two.iter().any(Result::is_ok));
        });
    });
    assert_eq!(both.unwrap(), 1);
}

#[test]
fn what_is_not_rank_0_is_named() {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = door.local_addr().unwrap().port();
    let taken = meeting(0, 2, port)
        .connections(&Abort::default())
        .err()
        .unwrap();
    assert_eq!(taken.code(), "BPEFT_RANKS");
    thread::scope(|scope| {
        scope.spawn(|| {
            door.accept()
                .unwrap()
                .0
                .write_all(b"HTTP/1.1 400 Bad Request\r\n")
        });
        let error = meeting(1, 2, port)
            .connections(&Abort::default())
            .err()
            .unwrap();
        assert!(error.to_string().contains("got something else"), "{error}");
    });
    let nobody = Meeting {
        meet_seconds: 0.3,
        ..meeting(1, 2, free_port())
    };
    let error = nobody.connections(&Abort::default()).err().unwrap();
    assert!(
        error.to_string().starts_with("rank 1 must find rank 0 at"),
        "{error}"
    );
    let aborted = Abort::default();
    aborted.abort();
    for rank in [0, 1] {
        let waiting = meeting(rank, 2, free_port());
        assert_eq!(
            waiting.connections(&aborted).err().unwrap().code(),
            "BPEFT_ABORTED"
        );
    }
}

#[test]
fn settings_that_are_none_are_refused() {
    let fine = meeting(1, 2, 1);
    for broken in [
        Meeting {
            size: 1,
            rank: 0,
            ..fine.clone()
        },
        Meeting {
            size: 1 << 20,
            ..fine.clone()
        },
        Meeting {
            rank: 2,
            ..fine.clone()
        },
        Meeting {
            run: "a".into(),
            ..fine.clone()
        },
        Meeting {
            silence_seconds: f64::NAN,
            ..fine.clone()
        },
        Meeting {
            meet_seconds: -1.0,
            ..fine
        },
    ] {
        assert_eq!(broken.check().unwrap_err().code(), "BPEFT_INVALID_CONFIG");
    }
}
