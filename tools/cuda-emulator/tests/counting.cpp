// Launches the kernel of counting.cu once; counts.mjs reads what the driver counted.
#include "cuda.h"

int main() {
  constexpr unsigned N = 64 * 100;
  use_device(0);
  Buffer<float> a(std::vector<float>(16, 1.0f)), b(std::vector<float>(N, 2.0f)),
      c(std::vector<float>(N, 3.0f)), y(N);
  Kernel kernel("counting", "counted");
  kernel.launch({100}, {64}, 0, a, b, c, y, N);
  REQUIRE(cuCtxSynchronize());
  printf("%s\n", y.read()[1] == 5.0f ? "right" : "wrong");
}
