//! Elementary functions for loops on the CPU, written so that the compiler can vectorise them:
//! no branches, no calls into the maths library.

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts, so that a multiple of it can be subtracted without rounding.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// 1.5 * 2^23: adding it rounds a float32 to an integer, which then lies in its low bits.
const ROUNDER: f32 = 12_582_912.0;

/// `e^x` with a relative error below 3e-7; inputs are cut off at -87.3 and 88.7, where float32 ends.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.7);
    let rounded = x * LOG2_E + ROUNDER;
    let n = rounded - ROUNDER;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    // Taylor polynomial of e^r for |r| <= ln(2) / 2; the first term left out is below 1.2e-7.
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    // 2^n through the exponent's bits, in two factors: n reaches 128.
    let n = rounded.to_bits() as i32 - ROUNDER.to_bits() as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
    p * power(half) * power(n - half)
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_float64() {
        let mut worst = 0f64;
        for i in -870..=880 {
            let x = i as f32 * 0.1003;
            if !(-87.0..88.0).contains(&x) {
                continue;
            }
            let exact = (x as f64).exp();
            worst = worst.max((exp(x) as f64 - exact).abs() / exact);
        }
        assert!(worst < 3e-7, "{worst:e}");
    }

    #[test]
    fn exp_of_extremes_and_nan() {
        assert!(exp(-1e30) < 1.3e-38);
        assert!(exp(1e30) > 3e38);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }
}
