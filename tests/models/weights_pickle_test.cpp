// Pickles by hand: old PyTorch's forms, and everything that must be refused.

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/to_size.h"
#include "models/weights/pickle.h"
#include "models/weights/torch_file.h"

using namespace macadam;
using Kind = PickleValue::Kind;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string little(uint64_t value, size_t bytes) {
  std::string text(bytes, '\0');
  std::memcpy(text.data(), &value, bytes);
  return text;
}

// Pieces of pickles.
const std::string kBegin = "\x80\x02";
std::string text(const std::string& value) { return "X" + little(value.size(), 4) + value; }
std::string python2(const std::string& value) { return "U" + little(value.size(), 1) + value; }
std::string number(int value) { return "J" + little(static_cast<uint32_t>(value), 4); }
std::string global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
std::string tuple(const std::vector<std::string>& items) {
  std::string all = "(";
  for (const std::string& item : items) all += item;
  return all + "t";
}
std::string numbers(const std::vector<int>& values) {
  std::vector<std::string> items;
  for (const int value : values) items.push_back(number(value));
  return tuple(items);
}
std::string storage(const std::string& key, int count, const std::string& type = "FloatStorage",
                    const std::string& view = "N") {
  return tuple({python2("storage"), global("torch", type), python2(key), python2("cpu"),
                number(count), view}) +
         "Q";
}
std::string tensor(const std::string& stored, int offset, const std::vector<int>& shape,
                   const std::vector<int>& strides) {
  return global("torch._utils", "_rebuild_tensor") +
         tuple({stored, number(offset), numbers(shape), numbers(strides)}) + "R";
}
std::string dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string all = "}(";
  for (const auto& [key, value] : items) all += text(key) + value;
  return all + "u";
}

std::string error_of(const std::string& pickle) {
  try {
    read_pickle(bytes_of(pickle), "weights.pth");
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

/// A file of torch.save before 1.6 around `object`, with float storages.
std::string legacy(const std::string& object,
                   const std::vector<std::pair<std::string, std::vector<float>>>& data) {
  std::string file = kBegin + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
  file += kBegin + "M\xe9\x03.";
  file += kBegin + dict({{"little_endian", "\x88"}}) + ".";
  file += kBegin + object + ".";
  std::string keys = "](", raw;
  for (const auto& [key, values] : data) {
    keys += python2(key);
    raw += little(values.size(), 8);
    raw.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  return file + kBegin + keys + "e." + raw;
}

std::vector<NamedArray> read_legacy(const std::string& file) {
  return read_torch_legacy(bytes_of(file), "weights.pth");
}

std::vector<float> values(const StoredArray& array) {
  std::vector<float> result(to_size(elements(array.shape)));
  read_array(array, result);
  return result;
}

std::string legacy_error(const std::string& file) {
  try {
    read_legacy(file);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Pickle, PlainValues) {
  const std::string values = kBegin + "(" + number(-5) + "K\x07M\x01\x02\x8a\x01\xff\x8a" +
                             little(0, 1) + "N\x88\x89" + text("name");
  const std::string whole = values + "t.rest";
  const Pickle pickle = read_pickle(bytes_of(whole), "weights.pth");
  const auto items = pickle.contents(pickle.root);
  ASSERT_EQ(items.size(), 9u);
  EXPECT_EQ(static_cast<int64_t>(items[0].payload), -5);
  EXPECT_EQ(items[1].payload, 7u);
  EXPECT_EQ(items[2].payload, 513u);
  EXPECT_EQ(static_cast<int64_t>(items[3].payload), -1);
  EXPECT_EQ(items[4].payload, 0u);
  EXPECT_EQ(items[5].kind, Kind::none);
  EXPECT_EQ(items[6].payload, 1u);
  EXPECT_EQ(items[7].payload, 0u);
  EXPECT_EQ(pickle.text(items[8]), "name");
  EXPECT_EQ(pickle.bytes.size(), whole.size() - 4) << "what follows is somebody else's";
}

TEST(Pickle, MemoRemembersContainersAsTheyGrow) {
  // A list that is remembered, filled, and then stands in a tuple twice.
  const std::string content =
      kBegin + "]q" + little(0, 1) + "K\x01" + "a" + "h" + little(0, 1) + "\x86.";
  const Pickle pickle = read_pickle(bytes_of(content), "weights.pth");
  const auto items = pickle.contents(pickle.root);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(pickle.contents(items[0]).size(), 1u);
  EXPECT_EQ(items[0].payload, items[1].payload);
}

struct Refusal {
  const char* name;
  std::string pickle;
  const char* complaint;
};

std::vector<Refusal> refusals() {
  const auto call = [](const std::string& module, const std::string& name) {
    return kBegin + global(module, name) + tuple({text("echo ran")}) + "R.";
  };
  const std::string stack_global =
      "\x80\x04" + text("os") + text("system") + "\x93" + tuple({text("echo")}) + "R.";
  return {
      {"System", call("os", "system"), "the file would run code: os.system: weights.pth: "},
      {"Posix", call("posix", "system"), "run code: os.system: "},
      {"Eval", call("builtins", "eval"), "run code: builtins.eval: "},
      {"Eval2", call("__builtin__", "eval"), "run code: builtins.eval: "},
      {"Getattr", call("builtins", "getattr"), "run code: builtins.getattr: "},
      {"Popen", call("subprocess", "Popen"), "run code: subprocess.Popen: "},
      {"TorchLoad", call("torch.hub", "load"), "run code: torch.hub.load: "},
      {"LoadFromBytes", call("torch.storage", "_load_from_bytes"),
       "run code: torch.storage._load_from_bytes: "},
      {"StackGlobal", stack_global, "run code: os.system: "},
      {"StackGlobalDotted",
       "\x80\x04" + text("collections") + text("OrderedDict.fromkeys") + "\x93.",
       "run code: collections.OrderedDict.fromkeys"},
      {"Inst", kBegin + "(" + text("echo") + "ios\nsystem\n.", "run code: os.system: "},
      {"NewLineInName", "\x80\x04" + text("os") + text("a\nb\x1b[31m") + "\x93.",
       "run code: os.a\\x0ab\\x1b[31m: "},
      {"ForeignClass", call("my_models.unet", "UNet"), "an object of my_models.unet.UNet: "},
      {"OwnScript", call("__main__", "Net"), "save model.state_dict()"},
      {"Sparse", call("torch._utils", "_rebuild_sparse_tensor"), "cannot be weights"},
      {"StorageOfQuantised", kBegin + global("torch", "QInt8Storage") + ".", "cannot be weights"},
      {"Float8", kBegin + global("torch", "float8_e4m3fn") + ".", "cannot be weights"},
      {"Subclass", call("torch._tensor", "_rebuild_from_type_v2"), "cannot be weights"},
      {"Protocol1", "\x80\x01K\x01.", "protocol 1"},
      {"Protocol6", "\x80\x06K\x01.", "protocol 6"},
      {"Extension", kBegin + "\x82\x01.", "0x82"},
      {"PersidOfText", kBegin + "Pkey\n.", "0x50"},
      {"UnknownPersistentId", kBegin + tuple({text("module"), text("x")}) + "Q.", "no tensor data"},
      {"StackEmpty", kBegin + ".", "unfinished"},
      {"TwoValues", kBegin + "K\x01K\x02.", "unfinished"},
      {"OpenMark", kBegin + "K\x01(.", "unfinished"},
      {"PopNothing", kBegin + "0.", "not there"},
      {"PopThroughMark", kBegin + "K\x01(0.", "not there"},
      {"TupleOfNothing", kBegin + "\x85.", "not there"},
      {"MarkNotThere", kBegin + "K\x01t.", "mark that is not there"},
      {"MemoHole", kBegin + "K\x01r\xff\xff\xff\x7f.", "memo has a hole"},
      {"MemoNotThere", kBegin + "h\x05.", "not there"},
      {"TextOutside", kBegin + "X\xff\xff\xff\xff" + "abc", "ends inside"},
      {"LongTextOutside",
       "\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
       "abc",
       "ends inside"},
      {"Truncated", kBegin + "J\x01", "ends inside"},
      {"NoStop", kBegin + "K\x01", "ends inside"},
      {"OddDict", kBegin + "}(K\x01u.", "without a value"},
      {"AppendToDict",
       kBegin + "}K\x01"
                "a.",
       "no container"},
      {"SetItemOfNumber", kBegin + "K\x01K\x01K\x01s.", "no container"},
      {"CallOfText", kBegin + text("os.system") + ")R.", "no function"},
      {"CallWithoutTuple", kBegin + global("collections", "OrderedDict") + "K\x01R.", "a tuple"},
      {"BuildNumber", kBegin + "K\x01}b.", "attributes"},
      {"TensorOfNothing", kBegin + global("torch._utils", "_rebuild_tensor_v2") + ")R.",
       "too few arguments"},
      {"TensorWithoutStorage",
       kBegin + global("torch._utils", "_rebuild_tensor_v2") +
           tuple({"N", "K\x01", numbers({1}), numbers({1})}) + "R.",
       "without a storage"},
      {"TensorOfUntypedStorage",
       kBegin + tensor(storage("0", 4, "UntypedStorage"), 0, {1}, {1}) + ".", "without a type"},
      {"TooManyDimensions",
       kBegin + tensor(storage("0", 4), 0, std::vector<int>(17, 1), std::vector<int>(17, 1)) + ".",
       "more than 16 dimensions"},
  };
}

class PickleRefused : public ::testing::TestWithParam<Refusal> {};

TEST_P(PickleRefused, SaysWhy) {
  const std::string error = error_of(GetParam().pickle);
  EXPECT_NE(error.find(GetParam().complaint), std::string::npos) << error;
  EXPECT_EQ(error.find('\n'), std::string::npos) << "one line";
}

INSTANTIATE_TEST_SUITE_P(All, PickleRefused, ::testing::ValuesIn(refusals()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Pickle, MemoryIsBounded) {
  std::string values = kBegin + "(";
  values.append(5'000'000, 'N');
  EXPECT_NE(error_of(values + "t.").find("4 million values"), std::string::npos);
  EXPECT_NE(error_of(kBegin + std::string(5'000'000, '(') + ".").find("4 million values"),
            std::string::npos)
      << "marks lie on a stack of their own";
  // Remembering a list of pairs and making dictionaries of it again and again.
  std::string dictionaries = kBegin + "](";
  for (int i = 0; i < 1000; ++i) dictionaries += "NN\x86";
  dictionaries += "eq" + little(0, 1) + "0";
  for (int i = 0; i < 10'000; ++i) {
    dictionaries += global("collections", "OrderedDict") + "h" + little(0, 1) + "\x85R";
  }
  EXPECT_NE(error_of(dictionaries + ".").find("4 million values"), std::string::npos);
}

TEST(TorchLegacy, ReadsTheFilesOf2017) {
  // Python 2's texts, Parameter(tensor) with a state, storages that are views, OrderedDict of
  // pairs.
  const std::string state = tuple({"\x88", "\x89", global("collections", "OrderedDict") + ")R"});
  const std::string parameter = global("torch.nn.parameter", "Parameter") +
                                tuple({tensor(storage("11", 6), 0, {2, 3}, {3, 1})}) + "R" + state +
                                "b";
  const std::string view = tuple({python2("99"), number(2), number(3)});
  const std::string bias = tensor(storage("11", 6, "FloatStorage", view), 1, {2}, {1});
  const std::string pairs =
      "](](" + python2("conv1.weight") + parameter + "e](" + python2("conv1.bias") + bias + "ee";
  const std::string object = global("collections", "OrderedDict") + "(" + pairs + "tR";
  const std::string file = legacy(object, {{"11", {1, 2, 3, 4, 5, 6}}});
  const auto arrays = read_legacy(file);
  ASSERT_EQ(arrays.size(), 2u);
  EXPECT_EQ(arrays[0].name, "conv1.weight");
  EXPECT_EQ(values(arrays[0].array), (std::vector<float>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(arrays[1].name, "conv1.bias");
  EXPECT_EQ(values(arrays[1].array), (std::vector<float>{4, 5}));
}

TEST(TorchLegacy, ReadsParametersMadeEmptyAndFilledLater) {
  const std::string filled =
      global("torch.nn.parameter", "Parameter") + ")\x81" +
      tuple({tensor(storage("1", 2), 0, {2}, {1}), "N", "N", "\x88", "\x89"}) + "b";
  const std::string file = legacy(dict({{"w", filled}}), {{"1", {8, 9}}});
  const auto arrays = read_legacy(file);
  EXPECT_EQ(values(arrays.at(0).array), (std::vector<float>{8, 9}));
  const std::string empty = global("torch.nn.parameter", "Parameter") + ")\x81";
  EXPECT_NE(legacy_error(legacy(dict({{"w", empty}}), {})).find("without data"), std::string::npos);
}

TEST(TorchLegacy, StripsPrefixesThatAllNamesShare) {
  const std::string w = tensor(storage("1", 2), 0, {2}, {1});
  const auto names = [&](const std::string& first, const std::string& second) {
    std::string all;
    for (const auto& array :
         read_legacy(legacy(dict({{first, w}, {second, w}}), {{"1", {8, 9}}}))) {
      all += array.name + " ";
    }
    return all;
  };
  EXPECT_EQ(names("module.a", "module.b"), "a b ");
  EXPECT_EQ(names("model.module.a", "model.module.b"), "a b ");
  EXPECT_EQ(names("_orig_mod.a", "_orig_mod.model.b"), "a model.b ");
  EXPECT_EQ(names("module.a", "other.b"), "module.a other.b ");
  EXPECT_EQ(names("module.", "module.b"), "module. module.b ") << "a name never becomes empty";
  std::string often;
  for (int i = 0; i < 100; ++i) often += i % 3 == 0 ? "model." : "module.";
  EXPECT_EQ(names(often + "model.a", often + "b"), "model.a b ");
}

// One prefix after the other off names of megabytes is a matter of an hour.
TEST(TorchLegacy, NamesAreShort) {
  const std::string w = tensor(storage("1", 2), 0, {2}, {1});
  const auto error = [&](const std::string& object) {
    return legacy_error(legacy(object, {{"1", {8, 9}}}));
  };
  EXPECT_EQ(error(dict({{std::string(1024, 'a'), w}})), "no error");
  EXPECT_NE(error(dict({{std::string(1025, 'a'), w}})).find("1025 bytes (at most 1024)"),
            std::string::npos);
  std::string endless;
  for (int i = 0; i < 1'000'000; ++i) endless += "module.";
  EXPECT_NE(error(dict({{endless + "a", w}, {endless + "b", w}})).find("at most 1024"),
            std::string::npos);
  // A name and a tensor that are remembered, and again and again.
  std::string again =
      "}(" + text(std::string(1000, 'a')) + "q" + little(1, 1) + w + "q" + little(2, 1);
  for (int i = 0; i < 1000; ++i) again += "h" + little(1, 1) + "h" + little(2, 1);
  EXPECT_NE(error(again + "u").find("tensors of one name"), std::string::npos);
}

TEST(TorchLegacy, RefusesTensorsThatDoNotFitTheirData) {
  const auto error = [](const std::string& w, const std::vector<float>& data) {
    return legacy_error(legacy(dict({{"w", w}}), {{"1", data}}));
  };
  const std::vector<float> four{1, 2, 3, 4};
  EXPECT_EQ(error(tensor(storage("1", 4), 0, {2, 2}, {2, 1}), four), "no error");
  const auto refused = [&](const std::string& w, const char* complaint) {
    const std::string message = error(w, four);
    EXPECT_NE(message.find(complaint), std::string::npos) << message;
  };
  refused(tensor(storage("1", 4), 0, {2, 2}, {3, 1}), "does not fit");
  refused(tensor(storage("1", 4), 1, {2, 2}, {2, 1}), "does not fit");
  refused(tensor(storage("1", 4), -1, {2}, {1}), "does not fit");
  refused(tensor(storage("1", 4), 0, {-2}, {1}), "negative");
  refused(tensor(storage("1", 4), 3, {2}, {-1}), "negative");
  refused(tensor(storage("1", 4), 0, {2, 2}, {1}), "do not match");
  refused(tensor(storage("1", 4), 0, std::vector<int>(16, 0x7fffffff), std::vector<int>(16, 0)),
          "does not fit");
  refused(tensor(storage("1", 5), 0, {2}, {1}), "too few");
  refused(tensor(storage("1", -1), 0, {2}, {1}), "too few");
  refused(tensor(storage("1", 4, "DoubleStorage"), 0, {2}, {1}), "ends inside its tensor data");
  refused(tensor(storage("2", 4), 0, {2}, {1}), "no tensor uses");
  const auto view = [](int first, int count) {
    return tensor(
        storage("1", 4, "FloatStorage", tuple({python2("9"), number(first), number(count)})), 0,
        {1}, {1});
  };
  EXPECT_EQ(error(view(3, 1), four), "no error");
  refused(view(3, 2), "outside its tensor data");
  refused(view(-1, 2), "outside its tensor data");
}

TEST(TorchLegacy, RefusesOtherPickles) {
  EXPECT_NE(legacy_error(kBegin + "K\x01.").find("torch.save did not write"), std::string::npos);
  std::string big_endian = legacy(dict({}), {});
  big_endian[big_endian.find('\x88')] = '\x89';
  EXPECT_NE(legacy_error(big_endian).find("big-endian"), std::string::npos);
}

TEST(TorchLegacy, RefusesBottomlessCheckpoints) {
  // A dictionary that holds itself, and one whose every level holds the next ten times.
  const std::string itself = "}q" + little(0, 1) + text("again") + "h" + little(0, 1) + "s";
  EXPECT_NE(legacy_error(legacy(itself, {})).find("no named tensors"), std::string::npos);
  std::string wide = "}q" + little(0, 1);
  for (int level = 1; level < 8; ++level) {
    std::string next = "}(";
    for (int i = 0; i < 200; ++i) next += text(std::to_string(i)) + "h" + little(level - 1, 1);
    wide = wide + "0" + next + "uq" + little(level, 1);
  }
  EXPECT_NE(legacy_error(legacy(wide, {})).find("nested too deeply"), std::string::npos);
}

}  // namespace
