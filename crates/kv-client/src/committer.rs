//! Two-phase commit on the client's side, as a pure state machine: inputs are what stores and PD answered, outputs
//! are what to ask next.
//!
//! ```text
//!   Prewriting ──all keys locked──► FetchingTs ──ts──► CommittingPrimary ──done──► CommittingSecondaries ──► Over
//!       │  │                            ▲                    │                         (in the background)
//!       │  │                            └──── ts too small ──┘
//!       │  ├──one-phase commit answered───────────────────────────────────────────────────────────────────► Over
//!       │  └──async commit: all keys locked, every store named a least commit timestamp──► CommittingSecondaries
//!       └──a key refused──► RollingBack (in the background) ──► Over
//! ```
//!
//! Invariants:
//! - The outcome is told once ([`Output::Finish`]) and never changes afterwards.
//! - Secondaries are committed only after the primary is (or, with async commit, after every key is locked).
//! - "Unknown" is told only when a request that could have decided the transaction may have been executed and no
//!   answer settled it; a definite answer to a retry settles it.
//! - Locks are rolled back only when the transaction is known not to be committed.
//!
//! Keys are positions in the list of mutations. An output names a set of keys; the driver groups them by region and
//! gives back one input for each group, so that regions may split between two tries. Not here: waiting, routing,
//! resolving the locks of others, timestamps, time.

use codec::timestamp::Timestamp;

use crate::error::Error;

/// A set of keys by position.
pub type Keys = Vec<usize>;

/// What the driver is to do next.
#[derive(Clone, Debug)]
pub enum Output {
    /// Lock these keys. The answers are [`Input::Prewritten`].
    Prewrite(Keys),
    /// Get a timestamp from PD: [`Input::CommitTs`].
    FetchCommitTs,
    /// Commit the group of these keys that holds the primary, and only it: [`Input::Committed`].
    CommitPrimary(Keys, Timestamp),
    /// Commit these keys; the transaction is committed already.
    CommitSecondaries(Keys, Timestamp),
    /// Remove the locks of these keys: [`Input::RolledBack`].
    Rollback(Keys),
    /// Tell the caller. What follows is background work.
    Finish(Result<Timestamp, Error>),
}

/// What became of a group of keys in a prewrite.
#[derive(Clone, Debug)]
pub enum Prewrite {
    /// They are locked. Zero timestamps mean that the store did not choose one.
    Done {
        /// With async commit: the commit timestamp is at least this.
        min_commit_ts: u64,
        /// With one-phase commit: they are committed at this.
        one_pc_commit_ts: u64,
    },
    /// No answer that settles it: try again.
    Again {
        /// Whether the request may have been executed.
        maybe_executed: bool,
    },
    /// A key cannot be locked.
    Failed(Error),
}

/// What became of a group of keys in a commit.
#[derive(Clone, Debug)]
pub enum Commit {
    /// They are committed.
    Done,
    /// The commit timestamp is too small: a reader was promised not to see a commit before this.
    Expired {
        /// The least timestamp that would do.
        min_commit_ts: u64,
    },
    /// No answer that settles it: try again.
    Again {
        /// Whether the request may have been executed.
        maybe_executed: bool,
    },
    /// The locks are gone: others rolled the transaction back.
    Failed(Error),
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The answer for a group of keys.
    Prewritten(Keys, Prewrite),
    /// A timestamp that PD handed out after the last prewrite was answered.
    CommitTs(Timestamp),
    /// The answer for a group of keys.
    Committed(Keys, Commit),
    /// The locks of a group of keys are gone.
    RolledBack(Keys),
    /// A group's rollback is to be tried again.
    RollbackAgain(Keys),
    /// The driver stops trying: the deadline has passed, or a step before the commit was refused.
    GiveUp {
        /// Why.
        error: Error,
        /// The group of keys that is not tried any more; empty when it was not about keys.
        keys: Keys,
        /// Whether that group's last request may have been executed.
        maybe_executed: bool,
    },
}

/// What the committer must know of the transaction.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its start.
    pub start_ts: Timestamp,
    /// Number of keys.
    pub keys: usize,
    /// Which key is the primary.
    pub primary: usize,
    /// Whether locking every key decides the commit.
    pub async_commit: bool,
    /// Whether a store may commit at prewrite.
    pub one_pc: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Prewriting,
    FetchingTs,
    CommittingPrimary,
    CommittingSecondaries,
    RollingBack,
    Over,
}

/// The state of one commit.
#[derive(Debug)]
pub struct Committer {
    plan: Plan,
    phase: Phase,
    /// Keys that the current phase is done with.
    done: Vec<bool>,
    left: usize,
    /// The group in which the primary was locked: it can be committed with it in one step.
    primary_group: Keys,
    /// The largest of what stores named; the commit timestamp must not be smaller.
    min_commit_ts: u64,
    commit_ts: Timestamp,
    /// Keys for which a request of this phase may have been executed without an answer that settled it.
    maybe: Vec<bool>,
}

impl Committer {
    /// A commit that has not begun.
    pub fn new(plan: Plan) -> Self {
        assert!(plan.primary < plan.keys, "primary {} of {} keys", plan.primary, plan.keys);
        Self {
            phase: Phase::Prewriting,
            done: vec![false; plan.keys],
            left: plan.keys,
            primary_group: vec![plan.primary],
            min_commit_ts: 0,
            commit_ts: Timestamp::ZERO,
            maybe: vec![false; plan.keys],
            plan,
        }
    }

    /// What to do first.
    pub fn start(&mut self) -> Vec<Output> {
        vec![Output::Prewrite((0..self.plan.keys).collect())]
    }

    /// Whether nothing is left to do.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the store's answer to this transaction is still open to change: the lock of the primary must live.
    pub fn is_undecided(&self) -> bool {
        matches!(self.phase, Phase::Prewriting | Phase::FetchingTs | Phase::CommittingPrimary)
    }

    /// Takes in what happened; returns what to do next.
    pub fn step(&mut self, input: Input) -> Vec<Output> {
        match (self.phase, input) {
            (Phase::Prewriting, Input::Prewritten(keys, answer)) => self.on_prewritten(keys, answer),
            (Phase::FetchingTs, Input::CommitTs(ts)) => self.on_commit_ts(ts),
            (Phase::CommittingPrimary, Input::Committed(keys, answer)) => self.on_primary(keys, answer),
            (Phase::CommittingSecondaries, Input::Committed(keys, answer)) => self.on_secondaries(keys, answer),
            (Phase::RollingBack, Input::RolledBack(keys)) => {
                self.mark(&keys);
                self.over_when_done()
            }
            (Phase::RollingBack, Input::RollbackAgain(keys)) => vec![Output::Rollback(keys)],
            (_, Input::GiveUp { error, keys, maybe_executed }) => self.on_give_up(error, &keys, maybe_executed),
            // Late answers of a phase that is over: a prewrite that was under way when another key was refused. Its
            // lock is covered by the rollback, which leaves a record that keeps a later prewrite out.
            _ => Vec::new(),
        }
    }

    fn mark(&mut self, keys: &[usize]) {
        for &key in keys {
            if let Some(done) = self.done.get_mut(key)
                && !std::mem::replace(done, true)
            {
                self.left -= 1;
            }
        }
    }

    /// Begins a phase over the keys for which `done` is false.
    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.done = vec![false; self.plan.keys];
        self.maybe = vec![false; self.plan.keys];
        self.left = self.plan.keys;
    }

    fn mark_maybe(&mut self, keys: &[usize]) {
        for &key in keys {
            if let Some(maybe) = self.maybe.get_mut(key) {
                *maybe = true;
            }
        }
    }

    /// Whether the transaction is committed as soon as all of its keys are locked, or one request is executed.
    fn decides_by_locks(&self) -> bool {
        self.plan.one_pc || self.plan.async_commit
    }

    /// Whether what was sent and not settled may have committed the transaction.
    fn may_be_committed(&self) -> bool {
        match self.phase {
            // Every key must be locked (or, in one phase, written) for that.
            Phase::Prewriting => {
                self.decides_by_locks()
                    && self.maybe.contains(&true)
                    && self.done.iter().zip(&self.maybe).all(|(done, maybe)| *done || *maybe)
            }
            Phase::CommittingPrimary => self.maybe[self.plan.primary],
            _ => false,
        }
    }

    fn remaining(&self) -> Keys {
        (0..self.plan.keys).filter(|&key| !self.done[key]).collect()
    }

    fn over_when_done(&mut self) -> Vec<Output> {
        if self.left == 0 {
            self.phase = Phase::Over;
        }
        Vec::new()
    }

    fn on_prewritten(&mut self, keys: Keys, answer: Prewrite) -> Vec<Output> {
        match answer {
            Prewrite::Done { one_pc_commit_ts, .. } if one_pc_commit_ts > 0 => {
                self.phase = Phase::Over;
                vec![Output::Finish(Ok(Timestamp(one_pc_commit_ts)))]
            }
            Prewrite::Done { min_commit_ts, .. } => {
                if min_commit_ts == 0 {
                    // The store chose the ordinary way, so the commit is decided by the primary alone.
                    self.plan.async_commit = false;
                }
                self.min_commit_ts = self.min_commit_ts.max(min_commit_ts);
                if keys.contains(&self.plan.primary) {
                    self.primary_group.clone_from(&keys);
                }
                self.mark(&keys);
                if self.left > 0 {
                    return Vec::new();
                }
                if !self.plan.async_commit {
                    self.phase = Phase::FetchingTs;
                    return vec![Output::FetchCommitTs];
                }
                self.commit_ts = Timestamp(self.min_commit_ts);
                self.begin(Phase::CommittingSecondaries);
                let all = (0..self.plan.keys).collect();
                vec![Output::Finish(Ok(self.commit_ts)), Output::CommitSecondaries(all, self.commit_ts)]
            }
            Prewrite::Again { maybe_executed } => {
                if maybe_executed {
                    self.mark_maybe(&keys);
                }
                vec![Output::Prewrite(keys)]
            }
            Prewrite::Failed(error) if self.may_be_committed() && keys.iter().any(|&key| self.maybe[key]) => {
                // The try that got no answer may have committed, and what we met may be our own write.
                self.phase = Phase::Over;
                let own = match &error {
                    Error::WriteConflict { conflict_ts, conflict_commit_ts, .. }
                        if *conflict_ts == self.plan.start_ts.0 && *conflict_commit_ts > 0 =>
                    {
                        Ok(Timestamp(*conflict_commit_ts))
                    }
                    _ => Err(Error::Undetermined(error.to_string())),
                };
                vec![Output::Finish(own)]
            }
            Prewrite::Failed(error) => self.roll_back(error),
        }
    }

    fn on_commit_ts(&mut self, ts: Timestamp) -> Vec<Output> {
        assert!(ts > self.plan.start_ts, "commit {ts:?} is not after start {:?}", self.plan.start_ts);
        if ts.0 < self.min_commit_ts {
            return vec![Output::FetchCommitTs];
        }
        self.commit_ts = ts;
        self.begin(Phase::CommittingPrimary);
        vec![Output::CommitPrimary(self.primary_group.clone(), ts)]
    }

    fn on_primary(&mut self, keys: Keys, answer: Commit) -> Vec<Output> {
        match answer {
            Commit::Done => {
                self.phase = Phase::CommittingSecondaries;
                self.mark(&keys);
                let rest = self.remaining();
                let mut outputs = vec![Output::Finish(Ok(self.commit_ts))];
                if rest.is_empty() {
                    self.phase = Phase::Over;
                } else {
                    outputs.push(Output::CommitSecondaries(rest, self.commit_ts));
                }
                outputs
            }
            Commit::Expired { min_commit_ts } => {
                // This answer is definite: the primary is locked still, so no earlier try has committed it.
                self.min_commit_ts = self.min_commit_ts.max(min_commit_ts);
                self.phase = Phase::FetchingTs;
                vec![Output::FetchCommitTs]
            }
            Commit::Again { maybe_executed } => {
                if maybe_executed {
                    self.mark_maybe(&[self.plan.primary]);
                }
                vec![Output::CommitPrimary(self.primary_group.clone(), self.commit_ts)]
            }
            Commit::Failed(error) => self.roll_back(error),
        }
    }

    fn on_secondaries(&mut self, keys: Keys, answer: Commit) -> Vec<Output> {
        match answer {
            // A secondary without its lock was committed by whoever met it first: the primary tells them the outcome.
            Commit::Done | Commit::Failed(_) | Commit::Expired { .. } => {
                self.mark(&keys);
                self.over_when_done()
            }
            Commit::Again { .. } => vec![Output::CommitSecondaries(keys, self.commit_ts)],
        }
    }

    /// The transaction is definitely not committed.
    fn roll_back(&mut self, error: Error) -> Vec<Output> {
        self.begin(Phase::RollingBack);
        vec![Output::Finish(Err(error)), Output::Rollback(self.remaining())]
    }

    fn on_give_up(&mut self, error: Error, keys: &[usize], maybe_executed: bool) -> Vec<Output> {
        if maybe_executed {
            self.mark_maybe(keys);
        }
        // Other groups may be under way, and locked before their rollback arrives: only these keys are known.
        let surely_missing = self.phase == Phase::Prewriting && keys.iter().any(|&k| !self.done[k] && !self.maybe[k]);
        let open = match self.phase {
            Phase::Prewriting if keys.is_empty() => self.may_be_committed(),
            Phase::Prewriting => self.decides_by_locks() && !surely_missing,
            _ => self.may_be_committed(),
        };
        match self.phase {
            _ if open => {
                self.phase = Phase::Over;
                vec![Output::Finish(Err(Error::Undetermined(error.to_string())))]
            }
            Phase::Prewriting | Phase::FetchingTs | Phase::CommittingPrimary => self.roll_back(error),
            // Told already; whoever meets the locks that are left finds the outcome at the primary.
            Phase::CommittingSecondaries | Phase::RollingBack | Phase::Over => {
                self.phase = Phase::Over;
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TS: fn(u64) -> Timestamp = Timestamp;

    fn committer(keys: usize) -> Committer {
        Committer::new(Plan { start_ts: TS(5), keys, primary: 0, async_commit: false, one_pc: false })
    }

    fn asynchronous(keys: usize) -> Committer {
        Committer::new(Plan { start_ts: TS(5), keys, primary: 0, async_commit: true, one_pc: true })
    }

    fn locked(keys: &[usize], min_commit_ts: u64) -> Input {
        Input::Prewritten(keys.to_vec(), Prewrite::Done { min_commit_ts, one_pc_commit_ts: 0 })
    }

    fn committed(keys: &[usize]) -> Input {
        Input::Committed(keys.to_vec(), Commit::Done)
    }

    fn text(outputs: Vec<Output>) -> String {
        let one = |output: &Output| match output {
            Output::Prewrite(keys) => format!("prewrite {keys:?}"),
            Output::FetchCommitTs => "ts".into(),
            Output::CommitPrimary(keys, ts) => format!("primary {keys:?}@{}", ts.0),
            Output::CommitSecondaries(keys, ts) => format!("secondaries {keys:?}@{}", ts.0),
            Output::Rollback(keys) => format!("rollback {keys:?}"),
            Output::Finish(Ok(ts)) => format!("ok@{}", ts.0),
            Output::Finish(Err(Error::Undetermined(_))) => "unknown".into(),
            Output::Finish(Err(e)) => format!("err {e}"),
        };
        outputs.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn check(committer: &mut Committer, script: Vec<(Input, &str)>) {
        for (input, expect) in script {
            let shown = format!("{input:?}");
            assert_eq!(text(committer.step(input)), expect, "after {shown}");
        }
    }

    fn give_up(keys: &[usize], maybe_executed: bool) -> Input {
        Input::GiveUp { error: refused(), keys: keys.to_vec(), maybe_executed }
    }

    fn refused() -> Error {
        Error::Refused("no".into())
    }

    #[test]
    fn the_primary_group_commits_first_and_the_rest_after_the_answer() {
        let mut c = committer(4);
        assert_eq!(text(c.start()), "prewrite [0, 1, 2, 3]");
        check(
            &mut c,
            vec![
                (locked(&[2, 3], 0), ""),
                (Input::Prewritten(vec![0, 1], Prewrite::Again { maybe_executed: true }), "prewrite [0, 1]"),
                (locked(&[0, 1], 0), "ts"),
                (Input::CommitTs(TS(9)), "primary [0, 1]@9"),
                (Input::Committed(vec![0, 1], Commit::Expired { min_commit_ts: 12 }), "ts"),
                (Input::CommitTs(TS(10)), "ts"),
                (Input::CommitTs(TS(13)), "primary [0, 1]@13"),
                // The region of the group was split: only the half with the primary is answered.
                (committed(&[0]), "ok@13; secondaries [1, 2, 3]@13"),
                (Input::Committed(vec![2, 3], Commit::Again { maybe_executed: false }), "secondaries [2, 3]@13"),
                (committed(&[2, 3]), ""),
                (Input::Committed(vec![1], Commit::Failed(refused())), ""),
            ],
        );
        assert!(c.is_over());
    }

    #[test]
    fn a_refused_key_rolls_everything_back_and_late_answers_change_nothing() {
        let mut c = committer(2);
        c.start();
        check(
            &mut c,
            vec![
                (Input::Prewritten(vec![1], Prewrite::Failed(refused())), "err storage refused: no; rollback [0, 1]"),
                (locked(&[0], 0), ""),
                (Input::RollbackAgain(vec![0, 1]), "rollback [0, 1]"),
                (Input::RolledBack(vec![0, 1]), ""),
            ],
        );
        assert!(c.is_over());
    }

    #[test]
    fn an_unanswered_commit_of_the_primary_is_unknown_until_an_answer_settles_it() {
        let mut c = committer(1);
        c.start();
        let again = |maybe_executed| Input::Committed(vec![0], Commit::Again { maybe_executed });
        check(
            &mut c,
            vec![
                (locked(&[0], 0), "ts"),
                (Input::CommitTs(TS(9)), "primary [0]@9"),
                (again(true), "primary [0]@9"),
                (again(false), "primary [0]@9"),
                (give_up(&[0], false), "unknown"),
            ],
        );
        assert!(c.is_over());

        let mut c = committer(1);
        c.start();
        check(
            &mut c,
            vec![
                (locked(&[0], 0), "ts"),
                (Input::CommitTs(TS(9)), "primary [0]@9"),
                (again(true), "primary [0]@9"),
                (Input::Committed(vec![0], Commit::Failed(refused())), "err storage refused: no; rollback [0]"),
            ],
        );

        let mut c = committer(1);
        c.start();
        check(
            &mut c,
            vec![
                (locked(&[0], 0), "ts"),
                (Input::CommitTs(TS(9)), "primary [0]@9"),
                (again(false), "primary [0]@9"),
                (give_up(&[0], false), "err storage refused: no; rollback [0]"),
            ],
        );
    }

    #[test]
    fn one_phase_commit_ends_with_the_prewrite() {
        let one_pc = |ts| Input::Prewritten(vec![0, 1], Prewrite::Done { min_commit_ts: 0, one_pc_commit_ts: ts });
        let again = || Input::Prewritten(vec![0, 1], Prewrite::Again { maybe_executed: true });
        let mut c = asynchronous(2);
        c.start();
        check(&mut c, vec![(one_pc(7), "ok@7")]);
        assert!(c.is_over());

        // The answer was lost, and the retry meets its own commit.
        let mut c = asynchronous(2);
        c.start();
        let own = Error::WriteConflict { start_ts: 5, conflict_ts: 5, conflict_commit_ts: 7, key: vec![] };
        check(
            &mut c,
            vec![(again(), "prewrite [0, 1]"), (Input::Prewritten(vec![0, 1], Prewrite::Failed(own)), "ok@7")],
        );

        let mut c = asynchronous(2);
        c.start();
        let exists = Error::KeyExists { key: vec![1] };
        check(
            &mut c,
            vec![
                (again(), "prewrite [0, 1]"),
                (Input::Prewritten(vec![0, 1], Prewrite::Failed(exists.clone())), "unknown"),
            ],
        );

        let mut c = asynchronous(1);
        c.start();
        check(&mut c, vec![(Input::Prewritten(vec![0], Prewrite::Failed(exists)), "err key exists: 01; rollback [0]")]);
    }

    #[test]
    fn async_commit_is_decided_by_the_last_lock_and_falls_back_when_a_store_declines() {
        let mut c = asynchronous(3);
        c.start();
        check(
            &mut c,
            vec![
                (locked(&[0], 8), ""),
                (locked(&[1, 2], 11), "ok@11; secondaries [0, 1, 2]@11"),
                (committed(&[0, 1, 2]), ""),
            ],
        );
        assert!(c.is_over());

        let mut c = asynchronous(3);
        c.start();
        check(
            &mut c,
            vec![
                (locked(&[0], 8), ""),
                (locked(&[1, 2], 0), "ts"),
                (Input::CommitTs(TS(7)), "ts"),
                (Input::CommitTs(TS(9)), "primary [0]@9"),
            ],
        );

        // Once locks may decide the outcome, giving up cannot roll back; while one is surely missing it can.
        let again = || Input::Prewritten(vec![1], Prewrite::Again { maybe_executed: true });
        let mut c = asynchronous(2);
        c.start();
        check(&mut c, vec![(locked(&[0], 8), ""), (again(), "prewrite [1]"), (give_up(&[1], false), "unknown")]);
        let mut c = asynchronous(2);
        c.start();
        check(&mut c, vec![(locked(&[0], 8), ""), (give_up(&[1], true), "unknown")]);
        let mut c = asynchronous(2);
        c.start();
        check(
            &mut c,
            vec![(again(), "prewrite [1]"), (give_up(&[0], false), "err storage refused: no; rollback [0, 1]")],
        );
    }

    #[test]
    fn a_commit_given_up_while_other_locks_are_under_way_is_not_told_as_failed() {
        // Key 1 was sent and is not answered: it may be locked before a rollback arrives, and with the lock of key 2,
        // which may exist, the transaction is committed for everybody who meets it.
        let mut c = asynchronous(3);
        c.start();
        check(&mut c, vec![(locked(&[0], 8), ""), (give_up(&[2], true), "unknown")]);
        assert!(c.is_over());

        // Key 2 is surely not locked: whatever becomes of key 1, nothing is committed.
        let mut c = asynchronous(3);
        c.start();
        check(
            &mut c,
            vec![(locked(&[0], 8), ""), (give_up(&[2], false), "err storage refused: no; rollback [0, 1, 2]")],
        );
    }
}
