//! Python's `random.Random`: [`Random`], the Mersenne Twister MT19937 with CPython's seeding and sampling. Which
//! items are asked, and in which order their options stand, depends on it to the bit. Must not know what is drawn.
//!
//! Python random.Random 的精确复现（MT19937）。

const N: usize = 624;
const M: usize = 397;
const UPPER: u32 = 0x8000_0000;
const LOWER: u32 = 0x7fff_ffff;

/// A generator that draws what CPython's `random.Random(seed)` draws.
#[derive(Clone)]
pub struct Random {
    state: [u32; N],
    next: usize,
}

impl Random {
    /// `random.Random(seed)` for an integer.
    pub fn new(seed: u64) -> Self {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        let key: &[u32] = if high == 0 { &[low] } else { &[low, high] };
        let mut this = Self { state: [0; N], next: N };
        this.init_by_array(key);
        this
    }

    /// The next 32 bits.
    pub fn u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number in `0..n`: as many bits as `n` has, drawn until they are below it. `n` must not be 0.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "nothing lies below 0");
        let unused = n.leading_zeros();
        loop {
            let drawn = self.u32() >> unused;
            if drawn < n {
                return drawn;
            }
        }
    }

    /// `random.sample(range(n), k)`. `k` must not be above `n`.
    pub fn sample(&mut self, n: u32, k: u32) -> Vec<u32> {
        assert!(k <= n, "{k} cannot be sampled out of {n}");
        if n <= set_size(k) { self.sample_of_pool(n, k) } else { self.sample_with_set(n, k) }
    }

    /// Takes from a list whose end moves into each gap.
    fn sample_of_pool(&mut self, n: u32, k: u32) -> Vec<u32> {
        let mut pool: Vec<u32> = (0..n).collect();
        let mut take = |i: u32| {
            let drawn = self.below(n - i) as usize;
            let taken = pool[drawn];
            pool[drawn] = pool[(n - i - 1) as usize];
            taken
        };
        (0..k).map(&mut take).collect()
    }

    /// Draws again what was drawn before.
    fn sample_with_set(&mut self, n: u32, k: u32) -> Vec<u32> {
        let mut taken: Vec<u32> = Vec::with_capacity(k as usize);
        let mut seen = std::collections::HashSet::new();
        while taken.len() < k as usize {
            let drawn = self.below(n);
            if seen.insert(drawn) {
                taken.push(drawn);
            }
        }
        taken
    }

    fn init_genrand(&mut self, seed: u32) {
        self.state[0] = seed;
        for i in 1..N {
            let before = self.state[i - 1];
            self.state[i] = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
    }

    fn init_by_array(&mut self, key: &[u32]) {
        self.init_genrand(19_650_218);
        let (mut i, mut j) = (1, 0);
        for _ in 0..N.max(key.len()) {
            let mixed = self.mixed(i, 1_664_525);
            self.state[i] = mixed.wrapping_add(key[j]).wrapping_add(j as u32);
            j = (j + 1) % key.len();
            i = self.step(i);
        }
        for _ in 0..N - 1 {
            self.state[i] = self.mixed(i, 1_566_083_941).wrapping_sub(i as u32);
            i = self.step(i);
        }
        self.state[0] = UPPER;
    }

    fn mixed(&self, i: usize, factor: u32) -> u32 {
        let before = self.state[i - 1];
        self.state[i] ^ (before ^ (before >> 30)).wrapping_mul(factor)
    }

    /// The index after `i`; the last one is carried to the front.
    fn step(&mut self, i: usize) -> usize {
        if i + 1 < N {
            return i + 1;
        }
        self.state[0] = self.state[N - 1];
        1
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & UPPER) | (self.state[(i + 1) % N] & LOWER);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
    }
}

/// Above this many CPython remembers what it drew; up to it, it shuffles a list: `21 + 4^ceil(log(3k, 4))` where
/// `k` is above 5.
fn set_size(k: u32) -> u32 {
    if k <= 5 {
        return 21;
    }
    let mut power: u64 = 1;
    while power < 3 * u64::from(k) {
        power *= 4;
    }
    u32::try_from(21 + power).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_cpython() {
        let mut random = Random::new(0);
        let words: Vec<u32> = (0..4).map(|_| random.u32()).collect();
        assert_eq!(words, [3_626_764_237, 1_654_615_998, 3_255_389_356, 3_823_568_514]);
        // random.Random(2**32 + 7).getrandbits(32), the thousandth of them.
        let mut wide = Random::new((1 << 32) + 7);
        assert_eq!((0..1000).map(|_| wide.u32()).last(), Some(WIDE_1000));
    }

    /// Printed by CPython 3.11.
    const WIDE_1000: u32 = 2_785_553_708;

    #[test]
    fn samples_are_those_of_cpython_by_either_method() {
        assert_eq!(Random::new(0).sample(198, 5), [98, 194, 107, 10, 66]);
        assert_eq!(Random::new(0).sample(14_042, 1), [13_835]);
        assert_eq!(Random::new(0).sample(164, 10), [98, 107, 10, 66, 130, 124, 103, 77, 122, 91]);
        let drop = [1824, 409, 4506, 4012, 3657, 2286, 1679, 8935, 1424, 6912];
        assert_eq!(Random::new(42).sample(9535, 10), drop);
        assert_eq!(Random::new(42).sample(9536, 10), drop);
        for train in [77_400, 77_409] {
            let mut random = Random::new(42);
            assert_eq!(random.sample(train, 3), [14_592, 3278, 36_048]);
            assert_eq!(random.sample(train, 3), [32_098, 29_256, 18_289]);
        }
        assert_eq!(Random::new(0).sample(4, 0), [0; 0]);
    }

    #[test]
    fn the_method_changes_where_cpython_changes_it() {
        assert_eq!([1, 5, 6, 21, 22].map(set_size), [21, 21, 85, 85, 277]);
    }
}
