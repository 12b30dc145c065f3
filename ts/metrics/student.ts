/**
 * Student's t distribution with ν degrees of freedom (Abramowitz & Stegun 26.7.3 and 26.7.4), θ =
 * atan(t/√ν).
 *
 * ```text
 * ν odd   P(|T| ≤ t) = 2/π · (θ + sin θ·(cos θ + 2/3·cos³θ + … + (2·4···(ν−3))/(3·5···(ν−2))·cos^{ν−2}θ))
 * ν even  P(|T| ≤ t) = sin θ·(1 + 1/2·cos²θ + (1·3)/(2·4)·cos⁴θ + … + (1·3···(ν−3))/(2·4···(ν−2))·cos^{ν−2}θ)
 * ```
 */

/** P(T ≤ t) for t ≥ 0 and a whole number of degrees. */
export function studentCdf(t: number, degrees: number): number {
  const theta = Math.atan(t / Math.sqrt(degrees));
  const cos = Math.cos(theta);
  const isOdd = degrees % 2 === 1;
  let term = isOdd ? cos : 1;
  let sum = 0;
  for (let power = isOdd ? 1 : 0; power <= degrees - 2; power += 2) {
    sum += term;
    term *= (cos * cos * (power + 1)) / (power + 2);
  }
  const within = Math.sin(theta) * sum;
  return 0.5 + (isOdd ? (theta + within) / Math.PI : within / 2);
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
