//! How much a picture draws once every `use` is drawn in full.

use std::collections::HashMap;
use std::rc::Rc;

use super::PlanImageError;
use super::svg::{MAX_DEPTH, error};

/// `use` elements of a picture.
const MAX_USES: usize = 10_000;
/// Elements that are drawn once every `use` is drawn in full.
const MAX_DRAWN: u64 = 500_000;

/// Elements, and the ids of what they use.
pub(super) type Drawn = (u64, Vec<Rc<str>>);

/// How much every `use` draws: one that draws ten that draw ten would never end.
#[derive(Default)]
pub(super) struct Uses {
    /// By id: elements within, and what they use.
    within: HashMap<String, Drawn>,
    whole: Drawn,
    count: usize,
}

impl Uses {
    /// What an element uses.
    pub(super) fn target(&mut self, target: Option<&str>) -> Result<Vec<Rc<str>>, PlanImageError> {
        let targets: Vec<Rc<str>> = target.map(Rc::from).into_iter().collect();
        self.count += targets.len();
        if self.count > MAX_USES {
            return Err(error(format!("it has more than {MAX_USES} \"use\" elements")));
        }
        Ok(targets)
    }

    /// An element of that id is done; `drawn` goes to the one around it, or is the whole picture.
    pub(super) fn close(&mut self, id: Option<String>, drawn: Drawn, around: Option<&mut Drawn>) {
        let (count, mut targets) = drawn;
        if let Some(id) = id {
            let within = self.within.entry(id).or_default();
            within.0 += count;
            within.1.extend(targets.iter().cloned());
        }
        match around {
            Some(around) => {
                around.0 += count;
                around.1.append(&mut targets);
            }
            None => self.whole = (count, targets),
        }
    }

    pub(super) fn check(&self) -> Result<(), PlanImageError> {
        let mut known = HashMap::new();
        let (mut drawn, used) = (self.whole.0, &self.whole.1);
        for target in used {
            drawn = drawn.saturating_add(self.drawn(target, &mut known, 0)?);
        }
        if drawn > MAX_DRAWN {
            return Err(error(format!("with every \"use\" it draws more than {MAX_DRAWN} elements")));
        }
        Ok(())
    }

    fn drawn<'s>(
        &'s self,
        id: &'s str,
        known: &mut HashMap<&'s str, u64>,
        depth: usize,
    ) -> Result<u64, PlanImageError> {
        if let Some(&count) = known.get(id) {
            return Ok(count);
        }
        if depth == MAX_DEPTH {
            return Err(error("its \"use\" elements lead in a circle, or too deep"));
        }
        let Some((own, targets)) = self.within.get(id) else { return Ok(0) };
        let mut count = *own;
        for target in targets {
            count = count.saturating_add(self.drawn(target, known, depth + 1)?);
        }
        known.insert(id, count);
        Ok(count)
    }
}
