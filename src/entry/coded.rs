//! Coded forms of a stored body. They hang on the entry, so that whatever removes the entry removes them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;

use super::body::shared_weight;
use super::{Entry, Fields, allocated};
use crate::policy::coding::{self, Codable, Coding};

/// A stored response in a content coding.
#[derive(Debug)]
pub struct Coded {
    /// Fields as sent to clients, without what is added to each answer.
    pub fields: Fields,
    /// The whole coded body.
    pub body: Bytes,
}

/// Whether a body may be coded, in one byte: zero until somebody has asked.
#[derive(Debug, Default)]
pub(super) struct Verdict(AtomicU8);

impl Verdict {
    const NO: u8 = 1;
    const YES: u8 = 2;
    const YES_AND_IT_SAYS_SO: u8 = 3;

    fn get_or(&self, judge: impl FnOnce() -> Option<Codable>) -> Option<Codable> {
        let mut verdict = self.0.load(Ordering::Relaxed);
        if verdict == 0 {
            verdict = match judge() {
                None => Self::NO,
                Some(Codable { says_so: false }) => Self::YES,
                Some(Codable { says_so: true }) => Self::YES_AND_IT_SAYS_SO,
            };
            self.0.store(verdict, Ordering::Relaxed);
        }
        (verdict != Self::NO).then_some(Codable { says_so: verdict == Self::YES_AND_IT_SAYS_SO })
    }
}

/// What became of each coding of one entry.
#[derive(Debug, Default)]
pub(super) struct Forms {
    /// The codings that somebody has begun, one bit each.
    begun: AtomicU8,
    /// `None` inside: the body does not shrink by it.
    done: [OnceLock<Option<Box<Coded>>>; Coding::ALL.len()],
}

const fn bit(coding: Coding) -> u8 {
    1 << coding as u8
}

impl Entry {
    /// Whether its body may be coded.
    pub fn codable(&self) -> Option<Codable> {
        self.codable.get_or(|| coding::codable(self.status, &self.fields))
    }

    /// The form in this coding, once it is made and if it is smaller.
    pub fn coded(&self, coding: Coding) -> Option<&Coded> {
        self.later_so_far()?.forms.done[coding as usize].get()?.as_deref()
    }

    /// Takes on the making of a form, which nobody else will then begin. False if somebody has.
    pub fn begin_coding(&self, coding: Coding) -> bool {
        let begun = &self.later().forms.begun;
        // The usual case is a load: the form was made long ago.
        begun.load(Ordering::Relaxed) & bit(coding) == 0
            && begun.fetch_or(bit(coding), Ordering::AcqRel) & bit(coding) == 0
    }

    /// Leaves the making of a form to somebody else.
    pub fn put_off_coding(&self, coding: Coding) {
        self.later().forms.begun.fetch_and(!bit(coding), Ordering::AcqRel);
    }

    /// Hangs a coded body on the entry. Whoever keeps the entry weighs it anew.
    pub fn attach(&self, coding: Coding, body: Bytes) {
        if let Some(codable) = self.codable() {
            let fields = coding::coded_fields(self.fields.to_map(), coding, codable);
            let fields = Fields::from_map(&fields);
            let forms = &self.later().forms;
            forms.begun.fetch_or(bit(coding), Ordering::AcqRel);
            let _ = forms.done[coding as usize].set(Some(Box::new(Coded { fields, body })));
        }
    }

    /// Takes over the forms of another entry with the same body.
    pub fn inherit_forms(&self, other: &Self) {
        for coding in Coding::ALL {
            if let Some(coded) = other.coded(coding) {
                self.attach(coding, coded.body.clone());
            }
        }
    }
}

impl Forms {
    /// Bytes that the forms occupy besides.
    pub(super) fn weight(&self) -> usize {
        let made = self.done.iter().filter_map(|done| done.get()?.as_deref());
        let each = |coded: &Coded| {
            allocated(size_of::<Coded>()) + allocated(coded.fields.lines().len()) + shared_weight(&coded.body)
        };
        made.map(each).sum()
    }
}
