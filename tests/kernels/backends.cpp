#include "tests/kernels/backends.h"

#include <map>

#if defined(MACADAM_HAS_EMULATED)
#include "tests/emulator/emulated_ops.h"
#endif

namespace macadam::testing {
namespace {

std::unique_ptr<Backend> make_backend(const std::string& name) {
  if (name == "Cpu") return std::make_unique<Backend>(Device{});
#if defined(MACADAM_HAS_EMULATED)
  if (name == "Emulated") return std::make_unique<Backend>(emulated::make_ops());
#endif
  if (name == "Cuda") {
    for (const DeviceInfo& info : list_devices())
      if (info.device.is_cuda()) return std::make_unique<Backend>(info.device);
  }
  return nullptr;
}

}  // namespace

Backend* find_backend(const std::string& name) {
  static std::map<std::string, std::unique_ptr<Backend>> made;
  const auto [entry, is_new] = made.try_emplace(name);
  if (is_new) entry->second = make_backend(name);
  return entry->second.get();
}

}  // namespace macadam::testing
