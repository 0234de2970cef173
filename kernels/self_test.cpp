#include "kernels/self_test.h"

#include <fmt/format.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string_view>

#include "base/cache_file.h"
#include "base/error.h"
#include "kernels/conv_check.h"
#include "kernels/cpu/cpu_ops.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

// What the child writes and what a cached file holds: lines of words between tabs.
//   at  <pass> <implementation> <convolution>          about to be created, or run
//   bad <pass> <implementation> <convolution> <what>
//   ran <passes> <milliseconds>                        the end
constexpr std::string_view kFormatLine = "macadam self-test of convolutions, format 2";

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t end = 0; end != std::string_view::npos;) {
    end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return parts;
}

std::string line_of(const SelfTestFault& f) {
  return fmt::format("bad\t{}\t{}\t{}\t{}\n", f.pass, f.implementation, f.convolution, f.what);
}

std::string end_line(const SelfTest& test) {
  return fmt::format("ran\t{}\t{:.1f}\n", test.passes, test.milliseconds);
}

/// A number and nothing else.
std::optional<double> number(const std::string& text) {
  size_t used = 0;
  try {
    const double value = std::stod(text, &used);
    return used == text.size() ? std::optional(value) : std::nullopt;
  } catch (const std::logic_error&) {  // none, or too large
    return std::nullopt;
  }
}

/// What was written, and `last`, what was begun last; false without its end.
bool parse(std::string_view text, SelfTest& test, SelfTestFault& last) {
  for (const std::string& line : split(text, '\n')) {
    const std::vector<std::string> words = split(line, '\t');
    if (words[0] == "at" && words.size() == 4) {
      last = {words[1], words[2], words[3], {}};
    } else if (words[0] == "bad" && words.size() == 5) {
      test.faults.push_back({words[1], words[2], words[3], words[4]});
    } else if (words[0] == "ran" && words.size() == 3) {
      const auto passes = number(words[1]), milliseconds = number(words[2]);
      if (!passes || !milliseconds) return false;
      test.passes = static_cast<int>(*passes);
      test.milliseconds = *milliseconds;
      return true;
    }
  }
  return false;
}

void run_checks(const ConvOpsFactory& make, const std::vector<ConvDesc>& descs,
                const std::function<void(const std::string&)>& write) {
  const auto at = [&](ConvPass pass, std::string_view implementation, const ConvDesc& desc) {
    write(fmt::format("at\t{}\t{}\t{}\n", name_of(pass), implementation, desc.text()));
  };
  const auto ops = make([&](ConvPass pass, std::string_view name, const ConvDesc& desc) {
    const bool faulty = cpu::is_known_fault(pass, name, desc);
    if (!faulty) at(pass, name, desc);
    return faulty;
  });
  SelfTest test;
  for (const ConvDesc& desc : descs) {
    for (const ConvFault& fault :
         check_convolution(*ops, desc, [&](ConvPass pass, const Convolution&conv) {
           at(pass, conv.implementation_of(pass), desc);
           ++test.passes;
         })) {
      write(line_of(
          {std::string(name_of(fault.pass)), fault.implementation, desc.text(), fault.what}));
    }
  }
  write(end_line(test));
}

double milliseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

#if defined(MACADAM_HAS_ONEDNN)

/// What costs little and sees much. Small images suffice: the widths alone decide, and for 256 that
/// the height leads to blocks of three rows.
std::vector<ConvDesc> convolutions(DType dtype) {
  ConvDesc same{.input = {1, 8, 64, 32},
                .out_channels = 32,
                .padding = Padding::all(1),
                .bias = true,
                .dtype = dtype,
                .backward = true};
  std::vector<ConvDesc> descs;
  for (const Shape& input : {Shape{2, 13, 57, 32}, Shape{1, 9, 256, 32}, Shape{1, 8, 384, 32},
                             Shape{1, 8, 736, 32}, Shape{1, 4, 800, 32}}) {
    descs.push_back(same);
    descs.back().input = input;
  }
  ConvDesc first = same;  // a network's first and last layers
  first.input = {1, 8, 512, 3};
  first.input_gradient = false;
  descs.push_back(first);
  ConvDesc last = same;
  last.input = {1, 9, 60, 32};  // 18 times 30 pixels: see conv_faults.cpp
  last.out_channels = 11;
  last.kernel_h = last.kernel_w = 1;
  last.padding = {};
  descs.push_back(last);
  ConvDesc stride = same;
  stride.input = {1, 10, 66, 32};
  stride.out_channels = 48;
  stride.stride = 2;
  stride.padding = {.left = 0, .right = 1, .top = 0, .bottom = 1};
  descs.push_back(stride);
  ConvDesc depthwise = same;
  depthwise.groups = depthwise.out_channels;
  descs.push_back(depthwise);
  return descs;
}

/// The file that remembers; empty where nothing is to be remembered.
fs::path file_of(const fs::path& folder, const std::string& identity) {
  if (folder.empty()) return {};
  return folder / fmt::format("convolutions-{:016x}.txt", std::hash<std::string>()(identity));
}

std::optional<SelfTest> remembered(const fs::path& file, const std::string& identity) {
  std::error_code error;
  constexpr uintmax_t kMostBytes = 1 << 20;
  if (file.empty() || !fs::is_regular_file(file, error) ||
      fs::file_size(file, error) > kMostBytes) {
    return std::nullopt;
  }
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const std::string head = fmt::format("{}\n{}\n", kFormatLine, identity);
  SelfTest test;
  SelfTestFault last;
  if (!text.starts_with(head) || !parse(std::string_view(text).substr(head.size()), test, last)) {
    return std::nullopt;
  }
  test.remembered = true;
  return test;
}

#else

[[noreturn]] void no_convolutions() {
  throw InputError("this build has no CPU convolutions", "self-test",
                   "configure with -DMACADAM_ONEDNN=ON");
}

#endif

}  // namespace

std::string SelfTestFault::text() const {
  return fmt::format("{} of {} by {}: {}", pass, convolution, implementation, what);
}

SelfTest self_test(const ConvOpsFactory& make, const std::vector<ConvDesc>& descs,
                   const ChildLimits& limits) {
  const auto start = std::chrono::steady_clock::now();
  const ChildEnd end =
      run_in_child([&](const auto& write) { run_checks(make, descs, write); }, limits);
  SelfTest test;
  SelfTestFault last{"creation", "an unknown implementation", "convolutions", {}};
  test.ended = parse(end.written, test, last) && end.how == ChildEnd::How::returned;
  if (!test.ended) {
    last.what = end.trouble();
    if (last.what.empty()) last.what = "ended before its time";
    test.faults.push_back(last);
  }
  test.milliseconds = milliseconds_since(start);
  return test;
}

#if defined(MACADAM_HAS_ONEDNN)

std::string self_test_library() {
  return fmt::format("{} ({})", cpu::library_version(), cpu::library_isa().name);
}

std::vector<DType> self_test_dtypes() {
  if (cpu::library_isa().bf16) return {DType::f32, DType::bf16};
  return {DType::f32};
}

SelfTest self_test_convolutions(DType dtype, const fs::path& cache, bool look) {
  const std::string identity = fmt::format("{}, {}", cpu::library_identity(), name_of(dtype));
  const fs::path file = file_of(cache, identity);
  if (look) {
    if (auto known = remembered(file, identity)) return *known;
  }
  SelfTest test = self_test([](auto fault) { return cpu::make_conv_ops(std::move(fault)); },
                            convolutions(dtype));
  std::string text = fmt::format("{}\n{}\n", kFormatLine, identity);
  for (const SelfTestFault& fault : test.faults) text += line_of(fault);
  if (test.ended && !file.empty()) replace_cache_file(file, text + end_line(test));
  return test;
}

void require_sound_convolutions(Device device, DType dtype) {
  if (device.is_cuda()) return;
  const SelfTest test = self_test_convolutions(dtype, cache_folder(), true);
  if (test.faults.empty()) return;
  throw RunError(
      fmt::format("{} computes convolutions wrongly on this machine", self_test_library()),
      test.faults.front().text(),
      fmt::format("{}set ONEDNN_MAX_CPU_ISA to an older instruction set, or build with "
                  "another oneDNN; see macadam info --self-test",
                  dtype == DType::f32 ? "" : "use precision fp32, "));
}

#else

std::string self_test_library() { no_convolutions(); }
std::vector<DType> self_test_dtypes() { no_convolutions(); }
SelfTest self_test_convolutions(DType, const fs::path&, bool) { no_convolutions(); }
void require_sound_convolutions(Device, DType) {}

#endif

}  // namespace macadam
