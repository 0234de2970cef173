#include "models/weights/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "models/weights/byte_reader.h"
#include "models/weights/pickle_globals.h"

namespace macadam {

namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMaxBytes = size_t{64} << 20;
constexpr size_t kMaxValues = 4'000'000;
constexpr size_t kStorageValues = 4, kTensorValues = 16;  // what these count, by their memory
constexpr size_t kMaxRank = 16;

/// The operations of protocols 2 to 5 (CPython's pickletools) that torch.save writes, and those
/// that name a global or a foreign object, which are there to be refused by name.
enum class Op : uint8_t {
  mark = '(',
  stop = '.',
  pop = '0',
  none = 'N',
  new_true = 0x88,
  new_false = 0x89,
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  long1 = 0x8a,
  long4 = 0x8b,
  binfloat = 'G',
  binstring = 'T',
  short_binstring = 'U',
  binunicode = 'X',
  short_binunicode = 0x8c,
  binunicode8 = 0x8d,
  binbytes = 'B',
  short_binbytes = 'C',
  binbytes8 = 0x8e,
  bytearray8 = 0x96,
  empty_tuple = ')',
  tuple = 't',
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  empty_list = ']',
  append = 'a',
  appends = 'e',
  empty_dict = '}',
  setitem = 's',
  setitems = 'u',
  empty_set = 0x8f,
  additems = 0x90,
  frozenset = 0x91,
  binput = 'q',
  long_binput = 'r',
  memoize = 0x94,
  binget = 'h',
  long_binget = 'j',
  global = 'c',
  stack_global = 0x93,
  inst = 'i',
  reduce = 'R',
  newobj = 0x81,
  build = 'b',
  binpersid = 'Q',
  proto = 0x80,
  frame = 0x95,
};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, std::string_view file)
      : bytes_(bytes.first(std::min(bytes.size(), kMaxBytes))),
        file_(file),
        reader_(bytes_, file,
                bytes.size() > kMaxBytes ? "the 64 MiB that a pickle may have" : "a pickle") {}

  Pickle run() {
    while (true) {
      const auto op = static_cast<Op>(reader_.number<uint8_t>());
      if (op == Op::stop) break;
      step(op);
    }
    if (stack_.size() != 1 || !marks_.empty()) fail("the pickle ends with an unfinished value");
    pickle_.root = stack_.back();
    pickle_.bytes = bytes_.first(reader_.position());
    return std::move(pickle_);
  }

 private:
  [[noreturn]] void fail(std::string_view what) const { damaged(what, file_); }

  void step(Op op) {
    switch (op) {
      case Op::mark: admit(1); return marks_.push_back(stack_.size());
      case Op::stop: return;
      case Op::pop: return static_cast<void>(pop());
      case Op::none: return push({});
      case Op::new_true: return push({Kind::boolean, 0, 1});
      case Op::new_false: return push({Kind::boolean, 0, 0});
      case Op::binint: return push_integer(reader_.number<int32_t>());
      case Op::binint1: return push_integer(reader_.number<uint8_t>());
      case Op::binint2: return push_integer(reader_.number<uint16_t>());
      case Op::long1: return push_long(reader_.number<uint8_t>());
      case Op::long4: return push_long(reader_.number<uint32_t>());
      case Op::binfloat: return push({Kind::real, 0, reader_.number<uint64_t>()});
      case Op::short_binstring:
      case Op::short_binbytes:
      case Op::short_binunicode: return push_text(reader_.number<uint8_t>());
      case Op::binstring:
      case Op::binunicode:
      case Op::binbytes: return push_text(reader_.number<uint32_t>());
      case Op::binunicode8:
      case Op::binbytes8:
      case Op::bytearray8: return push_text(reader_.number<uint64_t>());
      case Op::empty_tuple: return push_items(Kind::tuple, 0);
      case Op::tuple: return push_items(Kind::tuple, marked());
      case Op::tuple1: return push_items(Kind::tuple, 1);
      case Op::tuple2: return push_items(Kind::tuple, 2);
      case Op::tuple3: return push_items(Kind::tuple, 3);
      case Op::empty_list: return push_items(Kind::list, 0);
      case Op::append: return add_items(Kind::list, 1);
      case Op::appends: return add_items(Kind::list, marked());
      case Op::empty_dict: return push_items(Kind::dict, 0);
      case Op::setitem: return add_items(Kind::dict, 2);
      case Op::setitems: return add_items(Kind::dict, marked());
      case Op::empty_set: return push({Kind::inert, 0, 0});
      case Op::additems: return add_items(Kind::inert, marked());
      case Op::frozenset: drop(marked()); return push({Kind::inert, 0, 0});
      case Op::binput: return put(reader_.number<uint8_t>());
      case Op::long_binput: return put(reader_.number<uint32_t>());
      case Op::memoize: return put(memo_used_);
      case Op::binget: return push(get(reader_.number<uint8_t>()));
      case Op::long_binget: return push(get(reader_.number<uint32_t>()));
      case Op::global:
      case Op::inst: return push_global_lines();
      case Op::stack_global: return push_global_texts();
      case Op::reduce:
      case Op::newobj: return call();
      case Op::build: return build();
      case Op::binpersid: return push_storage();
      case Op::proto:
        if (const auto version = reader_.number<uint8_t>(); version < 2 || version > 5) {
          fail(fmt::format("a pickle of protocol {} (2 to 5 are known)", version));
        }
        return;
      case Op::frame: reader_.take(8); return;
    }
    fail(fmt::format("the pickle has an operation that torch.save does not write (0x{:02x})",
                     static_cast<unsigned>(op)));
  }

  // The stack.

  void admit(size_t values) {
    values_ += values;
    if (values_ > kMaxValues) fail("the pickle has more than 4 million values");
  }
  void push(PickleValue value) {
    admit(1);
    stack_.push_back(value);
  }
  /// The lowest place that operations may reach: below it lies what a mark protects.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  void need(size_t count) const {
    if (stack_.size() - floor() < count) fail("the pickle uses a value that is not there");
  }
  PickleValue pop() {
    need(1);
    const PickleValue value = stack_.back();
    stack_.pop_back();
    return value;
  }
  void drop(size_t count) { stack_.resize(stack_.size() - count); }
  /// Removes the last mark; says how many values lie above it.
  size_t marked() {
    if (marks_.empty()) fail("the pickle uses a mark that is not there");
    const size_t count = stack_.size() - marks_.back();
    marks_.pop_back();
    return count;
  }
  std::span<const PickleValue> top(size_t count) const { return std::span(stack_).last(count); }

  // Plain values.

  void push_integer(int64_t value) { push({Kind::integer, 0, static_cast<uint64_t>(value)}); }
  void push_long(uint64_t size) {
    const auto place = reader_.position();
    const auto digits = reader_.take(size);
    if (size > sizeof(int64_t)) {
      return push({Kind::long_integer, static_cast<uint32_t>(size), place});
    }
    const bool negative = size > 0 && (digits.back() & std::byte{0x80}) != std::byte{0};
    int64_t value = negative ? -1 : 0;
    if (size > 0) std::memcpy(&value, digits.data(), size);
    push_integer(value);
  }
  void push_text(uint64_t size) {
    const auto place = reader_.position();
    reader_.take(size);
    push({Kind::text, static_cast<uint32_t>(size), place});
  }
  std::string_view text(const PickleValue& value) const {
    if (value.kind != Kind::text) fail("the pickle has something else where a text belongs");
    return text_of(bytes_.subspan(value.payload, value.size));
  }
  int64_t integer(const PickleValue& value) const {
    if (value.kind != Kind::integer) fail("the pickle has something else where a number belongs");
    return static_cast<int64_t>(value.payload);
  }

  // Containers.

  void push_items(Kind kind, size_t count) {
    need(count);
    const auto values = top(count);
    pickle_.items.emplace_back(values.begin(), values.end());
    drop(count);
    push({kind, 0, pickle_.items.size() - 1});
  }
  /// Adds the upper `count` values to the container below them.
  void add_items(Kind kind, size_t count) {
    need(count + 1);
    const PickleValue target = stack_[stack_.size() - count - 1];
    if (target.kind == kind && kind != Kind::inert) {
      if (kind == Kind::dict && count % 2 != 0) fail("a dictionary with a key without a value");
      auto& items = pickle_.items[target.payload];
      const auto values = top(count);
      items.insert(items.end(), values.begin(), values.end());
    } else if (target.kind != Kind::inert) {
      fail("the pickle adds to a value that is no container");
    }
    drop(count);
  }
  std::span<const PickleValue> tuple(const PickleValue& value) const {
    if (value.kind != Kind::tuple) fail("the pickle has something else where a tuple belongs");
    return pickle_.items[value.payload];
  }
  std::vector<int64_t> integers(const PickleValue& value) const {
    const auto extents = tuple(value);
    if (extents.size() > kMaxRank) fail("a tensor has more than 16 dimensions");
    std::vector<int64_t> numbers;
    for (const PickleValue& item : extents) numbers.push_back(integer(item));
    return numbers;
  }

  // The memo. Writers number it from 0 (or 1) upwards, so that no index passes the values so far.

  void put(size_t index) {
    need(1);
    if (index > values_) fail("the pickle's memo has a hole");
    if (index >= memo_.size()) memo_.resize(index + 1);
    if (!std::exchange(memo_[index].first, true)) ++memo_used_;
    memo_[index].second = stack_.back();
  }
  PickleValue get(size_t index) const {
    if (index >= memo_.size() || !memo_[index].first) {
      fail("the pickle uses a remembered value that is not there");
    }
    return memo_[index].second;
  }

  // Functions and classes.

  std::string_view line() {
    const std::string_view rest = text_of(bytes_.subspan(reader_.position()));
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) reader_.take(rest.size() + 1);
    reader_.take(end + 1);
    return rest.substr(0, end);
  }
  void push_global(std::string_view module, std::string_view name) {
    globals_.push_back(find_pickle_global(module, name, file_));
    push({Kind::global, 0, globals_.size() - 1});
  }
  void push_global_lines() {
    const std::string_view module = line();
    push_global(module, line());
  }
  void push_global_texts() {
    const PickleValue name = pop(), module = pop();
    push_global(text(module), text(name));
  }
  const PickleGlobal& global(const PickleValue& value) const {
    if (value.kind != Kind::global) fail("the pickle calls something that is no function");
    return globals_[value.payload];
  }

  void call() {
    const PickleValue arguments = pop();
    const PickleGlobal called = global(pop());
    const auto given = tuple(arguments);
    switch (called.kind) {
      case PickleGlobal::Kind::ordered_dict: return push_ordered_dict(given);
      case PickleGlobal::Kind::rebuild_tensor: return push_tensor(given, std::nullopt);
      case PickleGlobal::Kind::rebuild_tensor_v3:
        if (given.size() < 7) fail("a tensor with too few arguments");
        return push_tensor(given, global(given[6]));
      case PickleGlobal::Kind::rebuild_parameter: return push_parameter(given);
      case PickleGlobal::Kind::shape:
        if (given.size() != 1) fail("a torch.Size with too few arguments");
        tuple(given[0]);
        return push(given[0]);
      case PickleGlobal::Kind::inert: return push({Kind::inert, 0, 0});
      case PickleGlobal::Kind::storage_type:
      case PickleGlobal::Kind::dtype: break;
    }
    fail("the pickle calls something that is no function");
  }

  /// OrderedDict(), or with a list of pairs (as Python 2 wrote it).
  void push_ordered_dict(std::span<const PickleValue> arguments) {
    std::vector<PickleValue> items;
    if (!arguments.empty()) {
      if (arguments[0].kind != Kind::list) fail("an OrderedDict that is not made from a list");
      for (const PickleValue& pair : pickle_.items[arguments[0].payload]) {
        if (pair.kind != Kind::list && pair.kind != Kind::tuple) fail("an OrderedDict of no pairs");
        const auto& key_and_value = pickle_.items[pair.payload];
        if (key_and_value.size() != 2) fail("an OrderedDict of no pairs");
        items.insert(items.end(), key_and_value.begin(), key_and_value.end());
        admit(2);
      }
    }
    pickle_.items.push_back(std::move(items));
    push({Kind::dict, 0, pickle_.items.size() - 1});
  }

  void push_tensor(std::span<const PickleValue> arguments, std::optional<PickleGlobal> type) {
    if (arguments.size() < 4) fail("a tensor with too few arguments");
    if (arguments[0].kind != Kind::storage) fail("a tensor without a storage");
    const PickleStorage& storage = pickle_.storages[arguments[0].payload];
    const auto dtype = type ? type->dtype : storage.dtype;
    if (!dtype) fail("a tensor without a type");
    admit(kTensorValues);
    pickle_.tensors.push_back({arguments[0].payload, *dtype, integer(arguments[1]),
                               integers(arguments[2]), integers(arguments[3])});
    push({Kind::tensor, 0, pickle_.tensors.size() - 1});
  }

  /// A parameter is its tensor. Before PyTorch 0.2 it could be made first and filled by build().
  void push_parameter(std::span<const PickleValue> arguments) {
    if (arguments.empty()) {
      admit(kTensorValues);
      pickle_.tensors.emplace_back();
      return push({Kind::tensor, 0, pickle_.tensors.size() - 1});
    }
    if (arguments[0].kind != Kind::tensor) fail("a parameter that is no tensor");
    push(arguments[0]);
  }

  /// Attributes (a state_dict's _metadata, whether a parameter needs a gradient) are no weights.
  void build() {
    const PickleValue state = pop();
    need(1);
    const PickleValue target = stack_.back();
    if (target.kind == Kind::tensor) {
      const bool filled = pickle_.tensors[target.payload].storage.has_value();
      if (!filled && state.kind == Kind::tuple) {
        const auto fields = tuple(state);
        if (fields.empty() || fields[0].kind != Kind::tensor) fail("a parameter without data");
        pickle_.tensors[target.payload] = PickleTensor(pickle_.tensors[fields[0].payload]);
      }
    } else if (target.kind != Kind::dict && target.kind != Kind::inert) {
      fail("the pickle gives attributes to a plain value");
    }
  }

  /// ('storage', class, key, location, elements[, view]): what torch.save writes for tensor data.
  void push_storage() {
    const auto fields = tuple(pop());
    if (fields.empty() || text(fields[0]) != "storage") {
      fail("the pickle refers to an object outside it that is no tensor data");
    }
    if (fields.size() < 5) fail("tensor data with too few fields");
    const PickleGlobal& type = global(fields[1]);
    if (type.kind != PickleGlobal::Kind::storage_type) fail("tensor data of an unknown type");
    PickleStorage storage;
    storage.dtype = type.dtype;
    storage.key = text(fields[2]);
    storage.count = integer(fields[4]);
    if (fields.size() > 5 && fields[5].kind != Kind::none) {
      const auto view = tuple(fields[5]);
      if (view.size() != 3) fail("tensor data with a damaged view");
      storage.view_offset = integer(view[1]);
      storage.view_count = integer(view[2]);
    }
    admit(kStorageValues);
    pickle_.storages.push_back(storage);
    push({Kind::storage, 0, pickle_.storages.size() - 1});
  }

  std::span<const std::byte> bytes_;
  std::string_view file_;
  ByteReader reader_;
  Pickle pickle_;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;
  std::vector<std::pair<bool, PickleValue>> memo_;
  size_t memo_used_ = 0;
  size_t values_ = 0;
  std::vector<PickleGlobal> globals_;
};

}  // namespace

std::string_view Pickle::text(const PickleValue& value) const {
  require(value.kind == Kind::text || value.kind == Kind::long_integer, "the value is a text");
  return text_of(bytes.subspan(value.payload, value.size));
}

std::span<const PickleValue> Pickle::contents(const PickleValue& value) const {
  require(value.kind == Kind::tuple || value.kind == Kind::list || value.kind == Kind::dict,
          "the value is a container");
  return items[value.payload];
}

Pickle read_pickle(std::span<const std::byte> bytes, std::string_view file) {
  return Machine(bytes, file).run();
}

}  // namespace macadam
