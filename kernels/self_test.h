#pragma once
// Whether the library behind the CPU's convolutions computes rightly on this machine. It generates
// code for the processor that it finds, and has been wrong on processors that nobody tested.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/child_process.h"
#include "kernels/conv.h"
#include "kernels/cpu/conv_faults.h"

namespace macadam {

struct SelfTestFault {
  std::string pass;            // "weight gradient"
  std::string implementation;  // "oneDNN jit:avx512_core_amx_bf16"
  std::string convolution;     // ConvDesc::text()
  std::string what;            // "6912 of 9216 values of dw are wrong (...)", "ended by signal 11"

  bool operator==(const SelfTestFault&) const = default;
  /// All of it, as one line.
  std::string text() const;
};

struct SelfTest {
  int passes = 0;  // that were checked
  std::vector<SelfTestFault> faults;
  double milliseconds = 0;  // of the run that found this
  bool ended = true;        // false: it crashed, hung or threw, which is the last fault
  bool remembered = false;  // an earlier process did it
};

/// Checks every pass of the CPU's convolutions in `dtype` at a few shapes, those among them that
/// have been wrong, against exact sums and with guard bytes, in a child process: a library that
/// crashes or never returns is told of like one that is wrong. Takes a tenth of a second. The
/// result goes into `cache` (a folder; empty: nowhere), for this library, what it may use of this
/// processor and the number of threads; `look` reads it from there. Throws RunError when no child
/// can be made, InputError in a build without CPU convolutions.
SelfTest self_test_convolutions(DType dtype, const std::filesystem::path& cache, bool look);

/// "oneDNN 3.2.0 (avx512_core_bf16)": what is tested. The same errors as above.
std::string self_test_library();

/// The dtypes that the CPU's convolutions have here.
std::vector<DType> self_test_dtypes();

/// Before the first training plan of a process: throws RunError, which names the first fault, where
/// the convolutions of `device` cannot be trusted in `dtype`. Does nothing but on the CPU. What an
/// earlier process found in cache_folder() is taken.
void require_sound_convolutions(Device device, DType dtype);

/// The same for any library, without a cache: `make` makes its ops in the child, which ask `fault`
/// before they create anything.
using ConvOpsFactory = std::function<std::unique_ptr<ConvOps>(cpu::ImplementationFault fault)>;
SelfTest self_test(const ConvOpsFactory& make, const std::vector<ConvDesc>& descs,
                   const ChildLimits& limits = {});

}  // namespace macadam
