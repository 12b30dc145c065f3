/**
 * Student's t distribution for an odd number ν of degrees of freedom (Abramowitz & Stegun 26.7.3).
 *
 * ```text
 * P(|T| ≤ t) = 2/π · (θ + sin θ·(cos θ + 2/3·cos³θ + … + (2·4···(ν−3))/(3·5···(ν−2))·cos^{ν−2}θ)),  θ = atan(t/√ν)
 * ```
 */

/** P(T ≤ t) for t ≥ 0. */
export function studentCdf(t: number, degrees: number): number {
  const theta = Math.atan(t / Math.sqrt(degrees));
  const cos = Math.cos(theta);
  let term = cos;
  let sum = 0;
  for (let power = 1; power <= degrees - 2; power += 2) {
    sum += term;
    term *= (cos * cos * (power + 1)) / (power + 2);
  }
  return 0.5 + (theta + Math.sin(theta) * sum) / Math.PI;
}

/** The t with P(T ≤ t) = p, p in [0.5, 1), by bisection. */
export function studentQuantile(p: number, degrees: number): number {
  let [low, high] = [0, 1];
  while (studentCdf(high, degrees) < p) high *= 2;
  for (let halving = 0; halving < 60; halving += 1) {
    const middle = (low + high) / 2;
    if (studentCdf(middle, degrees) < p) low = middle;
    else high = middle;
  }
  return high;
}
