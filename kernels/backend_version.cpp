#include "kernels/backend_version.h"

#include "kernels/cpu/cpu_ops.h"
#if defined(MACADAM_HAS_CUDA)
#include "kernels/cuda/cuda_ops.h"
#endif

namespace macadam {

std::string backend_version(Device device) {
#if defined(MACADAM_HAS_CUDA)
  if (device.is_cuda()) return cuda::library_version();
#endif
  require(!device.is_cuda(), "a device of this build");
#if defined(MACADAM_HAS_ONEDNN)
  return cpu::library_version();
#else
  return "no oneDNN: convolutions do not run on this device";
#endif
}

std::string convolution_isa() {
#if defined(MACADAM_HAS_ONEDNN)
  return cpu::library_isa().name;
#else
  return {};
#endif
}

std::string_view compiled_level() {
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512CD__) && \
    defined(__AVX512DQ__) && defined(__AVX512VL__)
  return "x86-64-v4";
#elif defined(__AVX2__) && defined(__BMI2__) && defined(__F16C__) && defined(__FMA__)
  return "x86-64-v3";
#elif defined(__SSE4_2__) && defined(__POPCNT__)
  return "x86-64-v2";
#elif defined(__x86_64__)
  return "x86-64";
#else
  return "other";
#endif
}

}  // namespace macadam
