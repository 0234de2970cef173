// Every case of the table, on every backend, against the reference.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/kernels/backends.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/op_cases.h"

namespace macadam::testing {
namespace {

const std::vector<OpCase>& table() {
  static const std::vector<OpCase> cases = all_op_cases();
  return cases;
}

struct Trial {
  std::string backend;
  const OpCase* op;

  friend std::ostream& operator<<(std::ostream& out, const Trial& trial) {
    return out << trial.op->full_name() << " on " << trial.backend;
  }
};

bool uses_f16(const OpCase& op) {
  return std::any_of(op.operands.begin(), op.operands.end(),
                     [](const Operand& o) { return o.dtype == DType::f16; });
}

/// Whether a backend has the op at all: the CPU has no fp16, and no convolutions without oneDNN;
/// the emulator has none of cuDNN's convolutions.
bool offers(const std::string& backend, const OpCase& op) {
  [[maybe_unused]] const bool is_conv =
      op.op.starts_with("conv_") || op.op.starts_with("depthwise_");
  if (backend == "Emulated") return !op.op.starts_with("conv_");
  if (backend == "Cuda") return true;
  // oneDNN's ReLU and limits answer NaN with 0 (kernels/conv.h).
  for (const char* ending : {"_relu_nan", "_relu6_nan", "_hardsigmoid_nan"}) {
    if (op.name.ends_with(ending)) return false;
  }
#if !defined(MACADAM_HAS_ONEDNN)
  if (is_conv) return false;
#endif
  return !uses_f16(op);
}

std::vector<Trial> trials(const std::string& backend) {
  std::vector<Trial> all;
  for (const OpCase& op : table())
    if (offers(backend, op)) all.push_back({backend, &op});
  return all;
}

std::string name_of_trial(const ::testing::TestParamInfo<Trial>& info) {
  return info.param.op->full_name();
}

/// Null where a CPU that is not fast at bf16 refuses a convolution in it, as the user is told.
std::unique_ptr<BoundOp> bind(const OpCase& op, Backend& backend, const Values& inputs) {
  try {
    return std::make_unique<BoundOp>(op, backend.ops, backend.stream, inputs);
  } catch (const Error&) {
    const Device device = backend.stream.device();
    if (device.is_cuda() || op.dtype != DType::bf16 || device_info(device).fast_bf16) throw;
    return nullptr;
  }
}

class Op : public ::testing::TestWithParam<Trial> {};

TEST_P(Op, MatchesReference) {
  const Trial& trial = GetParam();
  Backend* backend = find_backend(trial.backend);
  if (!backend) GTEST_SKIP() << "no CUDA device";

  const Values inputs = make_inputs(*trial.op);
  const std::unique_ptr<BoundOp> bound = bind(*trial.op, *backend, inputs);
  if (!bound) GTEST_SKIP() << "this CPU, or ONEDNN_MAX_CPU_ISA, has no bf16 convolutions";
  bound->run();
  EXPECT_EQ(differences(*trial.op, bound->results(), reference_results(*trial.op, inputs),
                        trial.backend == "Cuda"),
            "");
  for (const std::string& stray : bound->stray_writes()) ADD_FAILURE() << "overwrote " << stray;
}

INSTANTIATE_TEST_SUITE_P(Cpu, Op, ::testing::ValuesIn(trials("Cpu")), name_of_trial);
#if defined(MACADAM_HAS_EMULATED)
INSTANTIATE_TEST_SUITE_P(Emulated, Op, ::testing::ValuesIn(trials("Emulated")), name_of_trial);
#endif
#if defined(MACADAM_HAS_CUDA)
INSTANTIATE_TEST_SUITE_P(Cuda, Op, ::testing::ValuesIn(trials("Cuda")), name_of_trial);
#endif

TEST(CpuOps, ServeOrRefuseF16) {
  Backend& cpu = *find_backend("Cpu");
  for (const OpCase& op : table()) {
    if (!uses_f16(op)) continue;
    SCOPED_TRACE(op.full_name());
    const Values inputs = make_inputs(op);
    try {
      BoundOp bound(op, cpu.ops, cpu.stream, inputs);
      bound.run();
      EXPECT_EQ(differences(op, bound.results(), reference_results(op, inputs)), "");
    } catch (const InputError&) {  // the user asked for a precision that the device lacks
    } catch (const std::exception& error) {
      ADD_FAILURE() << "not an InputError: " << error.what();
    }
  }
}

TEST(OpTable, NamesAreUnique) {
  std::vector<std::string> names;
  for (const OpCase& op : table()) names.push_back(op.full_name());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

}  // namespace
}  // namespace macadam::testing
