#include "models/weights/pickle_globals.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"
#include "base/text.h"

namespace macadam {

namespace {

using Kind = PickleGlobal::Kind;

struct Row {
  std::string_view module, name;
  Kind kind;
};

constexpr std::array kRows{
    Row{"collections", "OrderedDict", Kind::ordered_dict},
    Row{"torch._utils", "_rebuild_tensor", Kind::rebuild_tensor},
    Row{"torch._utils", "_rebuild_tensor_v2", Kind::rebuild_tensor},
    Row{"torch._utils", "_rebuild_tensor_v3", Kind::rebuild_tensor_v3},
    Row{"torch._utils", "_rebuild_parameter", Kind::rebuild_parameter},
    Row{"torch.nn.parameter", "Parameter", Kind::rebuild_parameter},
    Row{"torch", "Size", Kind::shape},
    Row{"torch", "UntypedStorage", Kind::storage_type},
    Row{"torch.storage", "UntypedStorage", Kind::storage_type},
    Row{"torch.storage", "_UntypedStorage", Kind::storage_type},
    Row{"torch.storage", "TypedStorage", Kind::storage_type},
    Row{"torch.storage", "_TypedStorage", Kind::storage_type},
    // What training scripts keep beside the weights.
    Row{"torch", "device", Kind::inert},
    Row{"collections", "defaultdict", Kind::inert},
    Row{"collections", "Counter", Kind::inert},
    Row{"argparse", "Namespace", Kind::inert},
    Row{"datetime", "datetime", Kind::inert},
    Row{"pathlib", "PosixPath", Kind::inert},
    Row{"pathlib", "WindowsPath", Kind::inert},
    Row{"_codecs", "encode", Kind::inert},
    Row{"numpy", "dtype", Kind::inert},
    Row{"numpy", "ndarray", Kind::inert},
    Row{"numpy.core.multiarray", "scalar", Kind::inert},
    Row{"numpy._core.multiarray", "scalar", Kind::inert},
    Row{"numpy.core.multiarray", "_reconstruct", Kind::inert},
    Row{"numpy._core.multiarray", "_reconstruct", Kind::inert},
    Row{"pytorch_lightning.utilities.parsing", "AttributeDict", Kind::inert},
    Row{"lightning.pytorch.utilities.parsing", "AttributeDict", Kind::inert},
    Row{"lightning_fabric.utilities.data", "AttributeDict", Kind::inert},
    Row{"lightning.fabric.utilities.data", "AttributeDict", Kind::inert},
};

/// Types of Python's own that hold plain values; Python 2 called their module __builtin__.
constexpr std::array<std::string_view, 9> kBuiltinTypes{
    "set", "frozenset", "dict", "list", "tuple", "int", "float", "complex", "bytearray"};

struct TypeRow {
  std::string_view name;  // of the storage class, without "Storage"
  StoredType type;
  std::array<std::string_view, 2> dtypes;  // the names of torch's dtype
};

constexpr std::array kTypes{
    TypeRow{"Float", StoredType::f32, {"float32", "float"}},
    TypeRow{"Half", StoredType::f16, {"float16", "half"}},
    TypeRow{"BFloat16", StoredType::bf16, {"bfloat16", "bfloat16"}},
    TypeRow{"Double", StoredType::f64, {"float64", "double"}},
    TypeRow{"Long", StoredType::i64, {"int64", "long"}},
    TypeRow{"Int", StoredType::i32, {"int32", "int"}},
    TypeRow{"Short", StoredType::i16, {"int16", "short"}},
    TypeRow{"Char", StoredType::i8, {"int8", "int8"}},
    TypeRow{"Byte", StoredType::u8, {"uint8", "uint8"}},
    TypeRow{"Bool", StoredType::boolean, {"bool", "bool"}},
    TypeRow{"", StoredType::u16, {"uint16", "uint16"}},
    TypeRow{"", StoredType::u32, {"uint32", "uint32"}},
    TypeRow{"", StoredType::u64, {"uint64", "uint64"}},
};

constexpr std::string_view kStorageSuffix = "Storage";

/// A name within one of torch's own modules: a storage class or a dtype.
std::optional<PickleGlobal> find_type(std::string_view module, std::string_view name) {
  if (module != "torch" && module != "torch.cuda") return std::nullopt;
  for (const TypeRow& row : kTypes) {
    if (!row.name.empty() && name.starts_with(row.name) &&
        name.substr(row.name.size()) == kStorageSuffix) {
      return PickleGlobal{Kind::storage_type, row.type};
    }
    if (module == "torch" && std::ranges::count(row.dtypes, name) > 0) {
      return PickleGlobal{Kind::dtype, row.type};
    }
  }
  return std::nullopt;
}

/// Storage classes and dtypes of torch that are neither plain integers nor floating-point numbers.
bool is_other_type(std::string_view module, std::string_view name) {
  constexpr std::array<std::string_view, 6> kDtypes{"float8", "float4", "complex",
                                                    "qint",   "quint",  "bits"};
  if (module != "torch" && module != "torch.cuda") return false;
  return name.ends_with(kStorageSuffix) ||
         std::ranges::any_of(kDtypes, [&](auto dtype) { return name.starts_with(dtype); });
}

/// Classes are written with a capital letter, functions without; of Python's own modules everything
/// counts as a function, because subprocess.Popen is one for this purpose.
bool names_a_class(std::string_view module, std::string_view name) {
  constexpr std::array<std::string_view, 26> kPythonModules{
      "os",        "posix",   "nt",     "sys",      "subprocess",     "builtins", "__builtin__",
      "shutil",    "socket",  "ctypes", "runpy",    "importlib",      "code",     "pty",
      "commands",  "types",   "pickle", "_pickle",  "functools",      "operator", "webbrowser",
      "threading", "asyncio", "pdb",    "platform", "multiprocessing"};
  const std::string_view top = module.substr(0, module.find('.'));
  const size_t last = name.rfind('.');
  const std::string_view simple = last == std::string_view::npos ? name : name.substr(last + 1);
  return std::ranges::count(kPythonModules, top) == 0 && !simple.empty() && simple[0] >= 'A' &&
         simple[0] <= 'Z';
}

/// The name by which people know a module; Python 2 had others, which torch.save writes.
std::string_view public_module(std::string_view module) {
  if (module == "posix" || module == "nt") return "os";
  if (module == "__builtin__") return "builtins";
  return module == "commands" ? "subprocess" : module;
}

[[noreturn]] void refuse(std::string_view module, std::string_view name, std::string_view file) {
  const std::string quoted = quote(fmt::format("{}.{}", public_module(module), name));
  const auto full = std::string_view(quoted).substr(1, quoted.size() - 2);
  if (is_other_type(module, name)) {
    throw InputError(fmt::format("tensors of type {} cannot be weights", full), file,
                     "save them as float32 (model.float(), or dequantize())");
  }
  if (module == "torch._utils" || module == "torch._tensor") {
    throw InputError(fmt::format("tensors made by {} cannot be weights", full), file,
                     "save dense tensors of a plain type on the CPU");
  }
  if (names_a_class(module, name)) {
    throw InputError(fmt::format("the file holds more than weights: an object of {}", full), file,
                     "load it in PyTorch, save model.state_dict() and use that file");
  }
  throw InputError(fmt::format("the file would run code: {}", full), file,
                   "do not load it anywhere unless you trust its author; nothing of it was run");
}

}  // namespace

PickleGlobal find_pickle_global(std::string_view module, std::string_view name,
                                std::string_view file) {
  for (const Row& row : kRows) {
    if (row.module == module && row.name == name) return {row.kind, std::nullopt};
  }
  if ((module == "builtins" || module == "__builtin__") &&
      std::ranges::count(kBuiltinTypes, name) > 0) {
    return {};
  }
  if (const auto type = find_type(module, name)) return *type;
  refuse(module, name, file);
}

}  // namespace macadam
