// What "auto" and the named precisions mean on devices of every kind.

#include "engine/plan/precision.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/cpu/cpu_ops.h"

using namespace macadam;

namespace {

DeviceInfo gpu(int compute_capability) {
  return {Device{DeviceKind::cuda, 0}, "a GPU", size_t{8} << 30, compute_capability,
          compute_capability >= 80};
}

DeviceInfo cpu(bool fast_bf16) { return {Device{}, "a CPU", size_t{8} << 30, 0, fast_bf16}; }

TEST(Precision, AutoIsTheFastestOfTheDevice) {
  for (const int ampere_and_later : {80, 86, 89, 90, 100, 120}) {
    EXPECT_EQ(resolve_precision("auto", gpu(ampere_and_later)), DType::bf16) << ampere_and_later;
  }
  for (const int volta_and_turing : {70, 72, 75}) {
    EXPECT_EQ(resolve_precision("auto", gpu(volta_and_turing)), DType::f16) << volta_and_turing;
  }
  for (const int pascal_and_before : {50, 60, 61, 62}) {
    EXPECT_EQ(resolve_precision("auto", gpu(pascal_and_before)), DType::f32) << pascal_and_before;
  }
  EXPECT_EQ(resolve_precision("auto", cpu(true)), DType::bf16);
  EXPECT_EQ(resolve_precision("auto", cpu(false)), DType::f32);
}

TEST(Precision, IntelIsFastAtBf16WithAmxAlone) {
  using cpu::LibraryIsa;
  const LibraryIsa avx512{"avx512_core", true, false, false};
  const LibraryIsa avx512_bf16{"avx512_core_bf16", true, true, false};
  const LibraryIsa amx{"avx512_core_amx", true, true, true};
  for (const bool intel : {false, true}) {
    EXPECT_FALSE(cpu::is_fast_bf16({}, intel));
    EXPECT_FALSE(cpu::is_fast_bf16(avx512, intel));
    EXPECT_EQ(cpu::is_fast_bf16(avx512_bf16, intel), !intel);
    EXPECT_TRUE(cpu::is_fast_bf16(amx, intel));
  }
}

TEST(Precision, ANamedOneIsTakenWhereItRuns) {
  for (const DeviceInfo& device : {gpu(61), gpu(75), gpu(90), cpu(true), cpu(false)}) {
    EXPECT_EQ(resolve_precision("fp32", device), DType::f32);
    EXPECT_EQ(resolve_precision("bf16", device), DType::bf16);
    if (device.device.is_cuda()) {
      EXPECT_EQ(resolve_precision("fp16", device), DType::f16);
    } else {
      EXPECT_THROW(resolve_precision("fp16", device), InputError);
    }
    for (const char* unknown : {"", "Auto", "f16", "half"}) {
      EXPECT_THROW(resolve_precision(unknown, device), InputError) << unknown;
    }
  }
}

TEST(Precision, Bf16IsRefusedWhereThereIsNone) {
  DeviceInfo old = cpu(false);
  old.bf16 = false;
  EXPECT_THROW(resolve_precision("bf16", old), InputError);
  EXPECT_EQ(resolve_precision("auto", old), DType::f32);
}

TEST(Precision, NamesAreReadAsWritten) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    EXPECT_EQ(resolve_precision(precision_name(dtype), gpu(90)), dtype);
  }
}

}  // namespace
