//! The simulation and the engine together, in event time: what is due next, and what follows from it. Knows no clock, so
//! that the pace at which it is asked changes nothing.

use std::iter::Peekable;
use std::time::Duration;

use crate::engine::{Counters, Engine, Output, Prepared};
use crate::model::Timestamp;
use crate::source::simulate::{Simulation, What};

/// A simulated store under a real engine.
#[derive(Debug)]
pub struct Drive {
    simulation: Peekable<Simulation>,
    engine: Engine,
    start: Timestamp,
    now: Timestamp,
}

impl Drive {
    /// The simulation must begin at `start`.
    pub fn new(simulation: Simulation, engine: Engine, start: Timestamp) -> Self {
        Self { simulation: simulation.peekable(), engine, start, now: start }
    }

    /// When the next thing happens; none when the simulation has come to its end.
    pub fn next_time(&mut self) -> Option<Timestamp> {
        let step = self.simulation.peek()?.time;
        Some(self.engine.next_deadline().map_or(step, |deadline| deadline.min(step)).max(self.now))
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The engine, to be changed.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Simulated time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Goes on with another registry.
    pub fn reconfigure(&mut self, prepared: Prepared, out: &mut impl FnMut(Output, Timestamp)) {
        self.engine.reconfigure(prepared, self.now);
        self.drain(out);
    }

    /// Lets the next thing happen, and gives what follows from it to `out`, in order, each with the engine's time. `seen` is
    /// shown what happens before it does.
    pub fn step(&mut self, seen: impl FnOnce(Option<&What>), out: &mut impl FnMut(Output, Timestamp)) {
        let Some(time) = self.next_time() else { return };
        self.now = time;
        let step = self.simulation.next_if(|step| step.time <= time);
        seen(step.as_ref().map(|step| &step.what));
        match step {
            // The engine makes what is due before it takes the input in.
            Some(step) => {
                if let Some(input) = step.into_input() {
                    self.engine.handle(input, time);
                }
            }
            None => self.engine.advance(time),
        }
        self.drain(out);
    }

    /// Closes all visits, at `end` or where the drive has come to.
    pub fn stop(&mut self, end: Option<Timestamp>, out: &mut impl FnMut(Output, Timestamp)) {
        self.now = end.unwrap_or(self.now).max(self.now);
        self.engine.advance(self.now);
        self.drain(out);
        self.engine.stop(self.now);
        self.drain(out);
    }

    /// Simulated time since the start.
    pub fn elapsed(&self) -> Duration {
        self.now.since(self.start)
    }

    /// What the engine has taken in and dropped.
    pub fn counters(&self) -> &Counters {
        self.engine.counters()
    }

    fn drain(&mut self, out: &mut impl FnMut(Output, Timestamp)) {
        while let Some(output) = self.engine.poll_output() {
            out(output, self.engine.now());
        }
    }
}
