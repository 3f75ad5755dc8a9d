use super::*;

use Action::{Cycle, Renew, Reopen, Restart, Start};
use ReceiverState::{Down, Up};

/// A watchdog on a timeline, in seconds.
struct Line {
    start: Instant,
    now: Instant,
    dog: Watchdog,
}

const SCANNING: Adapter = Adapter { powered: true, discovering: true };
const IDLE: Adapter = Adapter { powered: true, discovering: false };
const OFF: Adapter = Adapter { powered: false, discovering: false };

impl Line {
    fn new() -> Self {
        let start = Instant::now();
        let mut dog = Watchdog::new(start);
        dog.bus(start, Ok(()));
        dog.service(start, true);
        Self { start, now: start, dog }
    }

    /// A receiver that has been up since 0 s.
    fn up() -> Self {
        let mut line = Self::new();
        line.adapter(IDLE).does(Start).done(Ok(())).adapter(SCANNING).is(Up);
        line
    }

    fn at(&mut self, s: f64) -> &mut Self {
        self.now = self.start + Duration::from_secs_f64(s);
        self
    }

    fn adapter(&mut self, adapter: Adapter) -> &mut Self {
        self.dog.adapter(self.now, Ok(adapter));
        self
    }

    fn unplugged(&mut self) -> &mut Self {
        self.dog.adapter(self.now, Err("no Bluetooth adapter hci0".into()));
        self
    }

    fn service(&mut self, there: bool) -> &mut Self {
        self.dog.service(self.now, there);
        self
    }

    fn bus(&mut self, reached: Result<(), &str>) -> &mut Self {
        self.dog.bus(self.now, reached.map_err(str::to_owned));
        self
    }

    fn hears(&mut self) -> &mut Self {
        self.dog.heard(self.now);
        self
    }

    fn does(&mut self, action: Action) -> &mut Self {
        assert_eq!(self.dog.poll_action(self.now), Some(action));
        self
    }

    fn does_nothing(&mut self) -> &mut Self {
        assert_eq!(self.dog.poll_action(self.now), None);
        self
    }

    fn done(&mut self, result: Result<(), &str>) -> &mut Self {
        self.dog.done(self.now, result.map_err(str::to_owned));
        self
    }

    fn is(&mut self, state: ReceiverState) -> &mut Self {
        assert_eq!(self.dog.poll_state(self.now).map(|(state, _)| state), Some(state));
        self
    }

    fn says(&mut self, words: &str) -> &mut Self {
        let (state, said) = self.dog.poll_state(self.now).expect("nothing new");
        assert_eq!((state, said.as_deref()), (Down, Some(words)));
        self
    }

    fn says_nothing(&mut self) -> &mut Self {
        assert_eq!(self.dog.poll_state(self.now), None);
        self
    }
}

#[test]
fn a_receiver_is_up_once_its_scan_was_started_and_the_adapter_discovers() {
    Line::new()
        .does_nothing()
        .says_nothing()
        .adapter(IDLE)
        .does(Start)
        .says_nothing()
        .at(0.1)
        .done(Ok(()))
        .does_nothing()
        .at(0.2)
        .adapter(SCANNING)
        .is(Up)
        .says_nothing();
}

#[test]
fn an_advertisement_proves_a_scan_as_well() {
    Line::new().adapter(IDLE).does(Start).at(0.1).done(Ok(())).at(0.5).hears().is(Up);
}

#[test]
fn a_scan_that_is_said_to_be_started_and_never_runs_climbs_the_ladder() {
    Line::new()
        .adapter(IDLE)
        .does(Start)
        .done(Ok(()))
        .at(1.9)
        .does_nothing()
        .at(2.0)
        .does(Restart)
        .says("the Bluetooth adapter does not scan")
        .done(Ok(()))
        .at(4.0)
        .does(Reopen)
        .done(Ok(()))
        .at(6.0)
        .does(Renew)
        .done(Ok(()))
        .adapter(SCANNING)
        .is(Up);
}

#[test]
fn another_programs_scan_is_not_ours() {
    Line::new().adapter(SCANNING).does(Start).done(Err("no")).says("the Bluetooth adapter does not scan: no");
}

#[test]
fn an_adapter_powered_off_is_down_at_once_and_powered_on_after_a_second() {
    Line::up()
        .at(5.0)
        .adapter(OFF)
        .says("the Bluetooth adapter is powered off")
        .does_nothing()
        .at(6.0)
        .does(Start)
        .adapter(IDLE)
        .at(6.2)
        .done(Ok(()))
        .adapter(SCANNING)
        .is(Up);
}

#[test]
fn an_adapter_that_somebody_powers_on_is_scanned_with_at_once() {
    Line::up().at(5.0).adapter(OFF).is(Down).at(5.5).adapter(IDLE).does(Start).done(Ok(())).adapter(SCANNING).is(Up);
}

#[test]
fn what_keeps_an_adapter_off_is_said() {
    let mut line = Line::up();
    line.at(5.0).adapter(OFF).is(Down).at(6.0).does(Start).done(Err("blocked through rfkill"));
    line.says("the Bluetooth adapter is powered off: blocked through rfkill");
}

#[test]
fn an_unplugged_adapter_is_left_alone_until_it_is_back() {
    Line::up()
        .at(5.0)
        .unplugged()
        .says("no Bluetooth adapter hci0")
        .at(100.0)
        .does_nothing()
        .at(101.0)
        .adapter(IDLE)
        .does(Start)
        .done(Ok(()))
        .adapter(SCANNING)
        .is(Up);
}

#[test]
fn while_bluetoothd_is_away_nothing_is_tried_and_when_it_is_back_it_may_refuse_for_a_while() {
    Line::up()
        .at(5.0)
        .service(false)
        .says("bluetoothd is not running; `systemctl status bluetooth` says why")
        .at(6.0)
        .does_nothing()
        .at(7.0)
        .service(true)
        .does_nothing()
        .says_nothing()
        .adapter(IDLE)
        .does(Start)
        .done(Err("in progress"))
        .says("the Bluetooth adapter does not scan: in progress")
        .at(7.4)
        .does_nothing()
        .at(7.5)
        .does(Restart)
        .done(Err("in progress"))
        .at(8.5)
        .does(Reopen)
        .done(Err("in progress"))
        .at(10.5)
        .does(Renew)
        .done(Ok(()))
        .adapter(SCANNING)
        .is(Up);
}

#[test]
fn a_lost_bus_takes_the_receiver_down_and_what_was_under_way_does_not_block_the_return() {
    let mut line = Line::up();
    line.at(15.0).does(Restart).at(15.5).bus(Err("closed"));
    line.says("the system's D-Bus cannot be reached: closed").does_nothing();
    line.at(20.0).bus(Ok(())).says_nothing().service(true).adapter(IDLE).does(Start).done(Ok(())).adapter(SCANNING);
    line.is(Up);
}

#[test]
fn a_stuck_service_is_down_until_it_answers() {
    let mut line = Line::up();
    line.at(8.0).dog.answers(false);
    line.says("bluetoothd does not answer").at(12.0).does_nothing();
    line.dog.answers(true);
    line.is(Up);
}

#[test]
fn a_quiet_shop_stays_up_while_its_scan_is_started_afresh_at_growing_intervals() {
    let mut line = Line::up();
    line.at(3.0).hears().at(12.9).does_nothing().at(13.0).does(Restart).says_nothing();
    line.adapter(IDLE).at(13.1).done(Ok(())).adapter(SCANNING).says_nothing();
    line.at(33.0).does_nothing().at(33.1).does(Reopen).at(33.2).done(Ok(())).says_nothing();
    line.at(73.2).does(Renew).at(73.5).done(Ok(())).says_nothing();
    line.at(153.5).does(Restart).done(Ok(())).says_nothing();
    line.at(273.5).does(Reopen).done(Ok(())).says_nothing();
    // Somebody comes: from now on a silence is looked into early again.
    line.at(300.0).hears().at(310.0).does(Restart).says_nothing();
}

#[test]
fn a_scan_that_hears_again_as_soon_as_it_is_started_afresh_had_stalled() {
    let mut line = Line::up();
    assert!(!line.dog.heard(line.now), "it has just been started");
    line.at(10.0).does(Restart).at(10.1).done(Ok(())).at(10.5);
    assert!(line.dog.heard(line.now));
    line.at(20.5).does(Restart).at(20.6).done(Ok(())).at(27.0);
    assert!(!line.dog.heard(line.now), "somebody came into a quiet shop");
}

#[test]
fn a_silent_radio_whose_scan_cannot_be_started_afresh_is_down() {
    let mut line = Line::up();
    line.at(10.0).does(Restart).says_nothing().at(10.5).done(Err("busy"));
    line.says("the Bluetooth adapter does not scan: busy");
}

#[test]
fn a_scan_that_stops_by_itself_is_given_two_seconds() {
    let mut line = Line::up();
    line.at(5.0).adapter(IDLE).says_nothing().does_nothing().at(5.1).adapter(SCANNING).at(9.0).says_nothing();
    line.hears().at(9.5).adapter(IDLE).at(11.4).says_nothing();
    line.at(11.5).says("the Bluetooth adapter does not scan").does(Restart).done(Ok(())).adapter(SCANNING).is(Up);
}

#[test]
fn a_cycled_scan_goes_off_and_on_every_second_and_stays_up() {
    let mut line = Line::up();
    line.dog.cycle(true);
    for second in 1..=5 {
        line.at(f64::from(second)).hears().does(Cycle).adapter(IDLE).says_nothing();
        line.done(Ok(())).adapter(SCANNING).says_nothing().does_nothing();
    }
}

#[test]
fn cycling_does_not_hide_a_silence() {
    let mut line = Line::up();
    line.dog.cycle(true);
    for second in 1..=9 {
        line.at(f64::from(second)).does(Cycle).done(Ok(()));
    }
    line.at(10.0).does(Restart);
}
