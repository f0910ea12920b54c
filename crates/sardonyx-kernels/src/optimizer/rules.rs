//! The update rules: what each makes of the hyper-parameters, and its step on a vector.

use super::{EpsilonPlace, Hyper, Rule};
use crate::Isa;
use crate::simd::line::{each_piece, load, store};
use crate::simd::{Simd, simd_entry};

/// Most numbers that a rule's loop needs.
pub(super) const FACTORS: usize = 10;

/// Where the floats of one item are.
#[derive(Debug)]
pub(super) struct Pointers {
    pub(super) gradient: *const f32,
    pub(super) parameter: *mut f32,
    /// As many as the rule has.
    pub(super) states: [*mut f32; 3],
}

/// Updates the given number of floats.
pub(super) type Sweep = unsafe fn(&Pointers, &[f32; FACTORS], usize);

/// One step of a rule, on vectors.
trait Update {
    const STATES: usize;
    /// `g` has been scaled. Gives the new parameter.
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, state: &mut [S::F; 3]) -> S::F;
}

/// The loop of `rule`.
pub(super) fn sweep_for(rule: Rule, isa: Isa) -> Sweep {
    macro_rules! entry {
        ($update:ty) => {{
            simd_entry! {
                fn entry(at: &Pointers, factors: &[f32; FACTORS], len: usize) = sweep::<_, $update>
            }
            entry(isa)
        }};
    }
    match rule {
        Rule::Sgd => entry!(Sgd),
        Rule::Momentum { .. } => entry!(Momentum),
        Rule::Adam { amsgrad: false, .. } => entry!(Adam<false>),
        Rule::Adam { amsgrad: true, .. } => entry!(Adam<true>),
        Rule::Adagrad { .. } => entry!(Adagrad),
        Rule::RmsProp {
            centred, momentum, ..
        } => match (centred, momentum) {
            (false, false) => entry!(RmsProp<false, false>),
            (false, true) => entry!(RmsProp<false, true>),
            (true, false) => entry!(RmsProp<true, false>),
            (true, true) => entry!(RmsProp<true, true>),
        },
        Rule::Adadelta => entry!(Adadelta),
        Rule::Adamax { .. } => entry!(Adamax),
        Rule::NAdam => entry!(NAdam),
        Rule::Lion => entry!(Lion),
    }
}

#[inline(always)]
unsafe fn sweep<S: Simd, U: Update>(s: S, at: &Pointers, factors: &[f32; FACTORS], len: usize) {
    let mut f = [s.splat(0.0); FACTORS];
    for (to, factor) in f.iter_mut().zip(factors) {
        *to = s.splat(*factor);
    }
    // SAFETY: the caller vouches for `len` floats everywhere.
    unsafe {
        each_piece!(len, |start, count| visit::<S, U>(s, at, &f, start, count));
    }
}

#[inline(always)]
unsafe fn visit<S: Simd, U: Update>(
    s: S,
    at: &Pointers,
    f: &[S::F; FACTORS],
    start: usize,
    count: usize,
) {
    // SAFETY: the caller vouches for `count` floats from `start` on.
    unsafe {
        let mut state = [s.splat(0.0); 3];
        for (value, from) in state[..U::STATES].iter_mut().zip(&at.states) {
            *value = load(s, count, from.add(start));
        }
        let p = load(s, count, at.parameter.add(start));
        // The last two factors are the same for all rules: scale and decay of the gradient.
        let scaled = s.mul(load(s, count, at.gradient.add(start)), f[FACTORS - 2]);
        let g = s.fma(p, f[FACTORS - 1], scaled);
        store(
            s,
            count,
            at.parameter.add(start),
            U::step(s, f, g, p, &mut state),
        );
        for (value, to) in state[..U::STATES].iter().zip(&at.states) {
            store(s, count, to.add(start), *value);
        }
    }
}

/// The numbers of `rule`'s loop: its own first, then `gradient_scale` and the decay.
pub(super) fn factors(rule: Rule, h: Hyper, gradient_scale: f32) -> [f32; FACTORS] {
    let lr = h.learning_rate;
    let correction = |beta: f64| 1.0 - beta.powf(h.step);
    let under_root = |place| match place {
        EpsilonPlace::OutsideRoot => [0.0, h.epsilon],
        EpsilonPlace::Keras => [h.epsilon, 0.0],
    };
    let decoupled = matches!(
        rule,
        Rule::Lion
            | Rule::Adam {
                decoupled: true,
                ..
            }
    );
    let keep = if decoupled {
        1.0 - lr * h.weight_decay
    } else {
        1.0
    };
    let own: &[f64] = match rule {
        Rule::Sgd => &[lr],
        Rule::Momentum {
            nesterov,
            scaled_velocity,
        } => &momentum_factors(h, nesterov, scaled_velocity),
        Rule::Adam { epsilon, .. } => &adam_factors(h, epsilon, keep),
        Rule::Adagrad { epsilon } => {
            let [inside, outside] = under_root(epsilon);
            &[
                lr / (1.0 + (h.step - 1.0) * h.schedule_decay),
                inside,
                outside,
            ]
        }
        Rule::RmsProp { epsilon, .. } => {
            let [inside, outside] = under_root(epsilon);
            &[h.beta2, 1.0 - h.beta2, lr, inside, outside, h.momentum]
        }
        Rule::Adadelta => &[h.beta2, 1.0 - h.beta2, lr, h.epsilon],
        Rule::Adamax { epsilon } => {
            let [outside, inside] = under_root(epsilon);
            let step = lr / correction(h.beta1);
            &[h.beta1, 1.0 - h.beta1, h.beta2, step, inside, outside]
        }
        Rule::NAdam => &nadam_factors(h),
        Rule::Lion => &[h.beta1, 1.0 - h.beta1, h.beta2, 1.0 - h.beta2, lr, keep],
    };
    let mut made = [0.0; FACTORS];
    for (to, from) in made.iter_mut().zip(own) {
        *to = *from as f32;
    }
    made[FACTORS - 2] = gradient_scale;
    made[FACTORS - 1] = if decoupled {
        0.0
    } else {
        h.weight_decay as f32
    };
    made
}

fn momentum_factors(h: Hyper, nesterov: bool, scaled_velocity: bool) -> [f64; 4] {
    let lr = h.learning_rate;
    let fresh = if h.step <= 1.0 {
        1.0
    } else {
        1.0 - h.dampening
    };
    let [enters, leaves] = if scaled_velocity {
        [lr, 1.0]
    } else {
        [1.0, lr]
    };
    let of_gradient = if nesterov { lr } else { 0.0 };
    let of_momentum = if nesterov {
        leaves * h.momentum
    } else {
        leaves
    };
    [h.momentum, fresh * enters, of_gradient, of_momentum]
}

fn adam_factors(h: Hyper, epsilon: EpsilonPlace, keep: f64) -> [f64; 8] {
    let [first, second] = [h.beta1, h.beta2].map(|beta| 1.0 - beta.powf(h.step));
    let step = h.learning_rate / first;
    let [step, root] = match epsilon {
        EpsilonPlace::OutsideRoot => [step, 1.0 / second.sqrt()],
        EpsilonPlace::Keras => [step * second.sqrt(), 1.0],
    };
    let (b1, b2) = (h.beta1, h.beta2);
    [b1, 1.0 - b1, b2, 1.0 - b2, step, root, h.epsilon, keep]
}

fn nadam_factors(h: Hyper) -> [f64; 8] {
    let (now, next) = (h.nadam_momentum(h.step), h.nadam_momentum(h.step + 1.0));
    let of_gradient = h.learning_rate * (1.0 - now) / (1.0 - h.momentum_product);
    let of_mean = h.learning_rate * next / (1.0 - h.momentum_product * next);
    let root = 1.0 / (1.0 - h.beta2.powf(h.step)).sqrt();
    let (b1, b2) = (h.beta1, h.beta2);
    [
        b1,
        1.0 - b1,
        b2,
        1.0 - b2,
        of_gradient,
        of_mean,
        root,
        h.epsilon,
    ]
}

/// `p - scale x`.
#[inline(always)]
fn descend<S: Simd>(s: S, p: S::F, scale: S::F, x: S::F) -> S::F {
    s.fma(s.neg(scale), x, p)
}

/// `keep mean + take x`.
#[inline(always)]
fn blend<S: Simd>(s: S, [keep, take]: [S::F; 2], mean: S::F, x: S::F) -> S::F {
    s.fma(keep, mean, s.mul(take, x))
}

struct Sgd;

impl Update for Sgd {
    const STATES: usize = 0;

    #[inline(always)]
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, _: &mut [S::F; 3]) -> S::F {
        descend(s, p, f[0], g)
    }
}

struct Momentum;

impl Update for Momentum {
    const STATES: usize = 1;

    #[inline(always)]
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, state: &mut [S::F; 3]) -> S::F {
        state[0] = blend(s, [f[0], f[1]], state[0], g);
        descend(s, descend(s, p, f[2], g), f[3], state[0])
    }
}

struct Adam<const AMSGRAD: bool>;

impl<const AMSGRAD: bool> Update for Adam<AMSGRAD> {
    const STATES: usize = if AMSGRAD { 3 } else { 2 };

    #[inline(always)]
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, state: &mut [S::F; 3]) -> S::F {
        let [keep1, take1, keep2, take2, step, root, epsilon, keep, ..] = *f;
        state[0] = blend(s, [keep1, take1], state[0], g);
        state[1] = blend(s, [keep2, take2], state[1], s.mul(g, g));
        let mut square = state[1];
        if AMSGRAD {
            state[2] = s.max(state[2], square);
            square = state[2];
        }
        let below = s.fma(s.sqrt(square), root, epsilon);
        descend(s, s.mul(p, keep), step, s.div(state[0], below))
    }
}

struct Adagrad;

impl Update for Adagrad {
    const STATES: usize = 1;

    #[inline(always)]
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, state: &mut [S::F; 3]) -> S::F {
        state[0] = s.fma(g, g, state[0]);
        let below = s.add(s.sqrt(s.add(state[0], f[1])), f[2]);
        descend(s, p, f[0], s.div(g, below))
    }
}

struct RmsProp<const CENTRED: bool, const MOMENTUM: bool>;

impl<const CENTRED: bool, const MOMENTUM: bool> Update for RmsProp<CENTRED, MOMENTUM> {
    const STATES: usize = 1 + CENTRED as usize + MOMENTUM as usize;

    #[inline(always)]
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, state: &mut [S::F; 3]) -> S::F {
        let [keep, take, step, inside, outside, momentum, ..] = *f;
        state[0] = blend(s, [keep, take], state[0], s.mul(g, g));
        let mut square = state[0];
        if CENTRED {
            state[1] = blend(s, [keep, take], state[1], g);
            // Rounding may leave less than nothing.
            let spread = s.fma(s.neg(state[1]), state[1], square);
            square = s.max(s.splat(0.0), spread);
        }
        let mut change = s.div(g, s.add(s.sqrt(s.add(square, inside)), outside));
        if MOMENTUM {
            let velocity = &mut state[1 + usize::from(CENTRED)];
            *velocity = s.fma(momentum, *velocity, change);
            change = *velocity;
        }
        descend(s, p, step, change)
    }
}

struct Adadelta;

impl Update for Adadelta {
    const STATES: usize = 2;

    #[inline(always)]
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, state: &mut [S::F; 3]) -> S::F {
        let [keep, take, step, epsilon, ..] = *f;
        state[0] = blend(s, [keep, take], state[0], s.mul(g, g));
        let root = s.sqrt(s.add(state[0], epsilon));
        let change = s.mul(s.div(s.sqrt(s.add(state[1], epsilon)), root), g);
        state[1] = blend(s, [keep, take], state[1], s.mul(change, change));
        descend(s, p, step, change)
    }
}

struct Adamax;

impl Update for Adamax {
    const STATES: usize = 2;

    #[inline(always)]
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, state: &mut [S::F; 3]) -> S::F {
        let [keep1, take1, keep2, step, inside, outside, ..] = *f;
        state[0] = blend(s, [keep1, take1], state[0], g);
        state[1] = s.max(s.mul(keep2, state[1]), s.add(s.abs(g), inside));
        descend(s, p, step, s.div(state[0], s.add(state[1], outside)))
    }
}

struct NAdam;

impl Update for NAdam {
    const STATES: usize = 2;

    #[inline(always)]
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, state: &mut [S::F; 3]) -> S::F {
        let [
            keep1,
            take1,
            keep2,
            take2,
            of_gradient,
            of_mean,
            root,
            epsilon,
            ..,
        ] = *f;
        state[0] = blend(s, [keep1, take1], state[0], g);
        state[1] = blend(s, [keep2, take2], state[1], s.mul(g, g));
        let below = s.fma(s.sqrt(state[1]), root, epsilon);
        let change = s.fma(of_gradient, g, s.mul(of_mean, state[0]));
        s.sub(p, s.div(change, below))
    }
}

struct Lion;

impl Update for Lion {
    const STATES: usize = 1;

    #[inline(always)]
    fn step<S: Simd>(s: S, f: &[S::F; FACTORS], g: S::F, p: S::F, state: &mut [S::F; 3]) -> S::F {
        let [keep1, take1, keep2, take2, step, keep, ..] = *f;
        let (mean, zero) = (blend(s, [keep1, take1], state[0], g), s.splat(0.0));
        let up = s.select(s.gt(mean, zero), step, zero);
        let change = s.select(s.lt(mean, zero), s.neg(step), up);
        state[0] = blend(s, [keep2, take2], state[0], g);
        s.sub(s.mul(p, keep), change)
    }
}
