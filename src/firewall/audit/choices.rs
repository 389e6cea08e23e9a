//! What nobody can know: each open question is answered both ways, one run of the evaluation after another.
//!
//! A run asks in order; the next run repeats the answers but for the last *yes*, which becomes *no*. So all ways are
//! seen, and if all of them end alike, the open questions did not matter.

/// The answers of one run.
#[derive(Debug, Default)]
pub(super) struct Choices {
    script: Vec<bool>,
    /// What was asked in this run, in order.
    asked: Vec<String>,
}

impl Choices {
    /// A question, answered *yes* when it is new.
    pub(super) fn choose(&mut self, question: impl FnOnce() -> String) -> bool {
        let at = self.asked.len();
        self.asked.push(question());
        if at == self.script.len() {
            self.script.push(true);
        }
        self.script[at]
    }

    /// What this run asked, with the answers.
    pub(super) fn asked(&self) -> impl Iterator<Item = (&str, bool)> {
        self.asked.iter().map(String::as_str).zip(self.script.iter().copied())
    }

    /// Makes ready for the next run; `false` when all ways have been gone.
    pub(super) fn next_run(&mut self) -> bool {
        self.asked.clear();
        while let Some(answer) = self.script.pop() {
            if answer {
                self.script.push(false);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_gone_once() {
        let mut choices = Choices::default();
        let mut seen = Vec::new();
        loop {
            let first = choices.choose(|| "a".to_owned());
            let second = first && choices.choose(|| "b".to_owned());
            seen.push((first, second));
            if !choices.next_run() {
                break;
            }
        }
        assert_eq!(seen, [(true, true), (true, false), (false, false)]);
    }
}
