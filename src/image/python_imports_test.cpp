#include "image/python_imports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/elf_builder.h"
#include "image/memory_file_system.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> modules(std::string_view source) {
  std::vector<std::string> modules;
  for (const PythonImport& import : python_imports(source)) {
    std::string text = import.module;
    for (const std::string& name : import.names) text += " " + name;
    modules.push_back(text);
  }
  return modules;
}

TEST(PythonImportsOf, ReadsBothStatements) {
  EXPECT_THAT(modules("import a, b.c as d  # e\nfrom .f import g as h, i\nfrom . import j\n"),
              ElementsAre("a", "b.c", ".f g i", ". j"));
}

TEST(PythonImportsOf, JoinsLinesOfBracketsAndBackslashes) {
  EXPECT_THAT(modules("from a import (b,  # one\n    c,\n)\nfrom d import e, \\\n  f\nimport g\n"),
              ElementsAre("a b c", "d e f", "g"));
}

TEST(PythonImportsOf, PassesOverFunctionsTypesAndTexts) {
  EXPECT_THAT(modules("\"\"\"Says:\nimport no\n\"\"\"\ndef f():\n    import no\n"
                      "if TYPE_CHECKING:\n    import no\nx = '''\nimport no '''\n"),
              IsEmpty());
}

TEST(PythonImportsOf, BranchesAreLessLikely) {
  const auto imports = python_imports("import a\nif x:\n    import b\n");
  ASSERT_EQ(imports.size(), 2u);
  EXPECT_EQ(imports[0].share, 1);
  EXPECT_LT(imports[1].share, 0.8f);
}

struct PythonImportsTest : testing::Test {
  PythonImportsTest() {
    files.add_link("/usr/bin/python3", "python3.11");
    files.add_file("/usr/bin/python3.11", ElfBuilder{}.build());
    module("/usr/lib/python3.11/encodings/__init__", "");
    module("/usr/lib/python3.11/json/__init__", "from .decoder import Decoder\n");
    module("/usr/lib/python3.11/json/decoder", "import _json\nfrom json import scanner\n");
    module("/usr/lib/python3.11/json/scanner", "");
    module("/usr/lib/python3.11/json/tool", "");
    files.add_file("/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so",
                   ElfBuilder{}.build());
    module("/usr/lib/python3/dist-packages/flask/__init__", "import missing\nimport flask\n");
    module("/opt/helper", "");
    files.add_file("/opt/app.py", "import json, sys\nimport flask\nimport helper\n");
  }
  void module(const std::string& path, const std::string& source) {
    files.add_file(path + ".py", source);
    const size_t slash = path.rfind('/');
    files.add_file(path.substr(0, slash) + "/__pycache__" + path.substr(slash) + ".cpython-311.pyc",
                   "bytecode");
  }
  // Returns whether the content of a file is read.
  bool reads_content(std::string_view path) {
    BootReads reads(files, {});
    PythonImports(reads).add_script("/opt/app.py", 0.9f);
    const uint64_t offset = MemoryFileSystem::content_offset(files.id_of(path));
    return std::any_of(reads.reads().begin(), reads.reads().end(),
                       [&](const BootRead& read) { return read.range.offset == offset; });
  }

  MemoryFileSystem files;
};

TEST_F(PythonImportsTest, FollowsPackagesModulesAndExtensions) {
  EXPECT_TRUE(reads_content("/opt/app.py"));
  EXPECT_TRUE(reads_content("/usr/lib/python3.11/encodings/__pycache__/__init__.cpython-311.pyc"));
  EXPECT_TRUE(reads_content("/usr/lib/python3.11/json/__pycache__/__init__.cpython-311.pyc"));
  EXPECT_TRUE(reads_content("/usr/lib/python3.11/json/__pycache__/decoder.cpython-311.pyc"));
  EXPECT_TRUE(reads_content("/usr/lib/python3.11/json/__pycache__/scanner.cpython-311.pyc"));
  EXPECT_TRUE(
      reads_content("/usr/lib/python3.11/lib-dynload/_json.cpython-311-x86_64-linux-gnu.so"));
  EXPECT_TRUE(
      reads_content("/usr/lib/python3/dist-packages/flask/__pycache__/__init__.cpython-311.pyc"));
  EXPECT_TRUE(reads_content("/opt/__pycache__/helper.cpython-311.pyc"));
}

TEST_F(PythonImportsTest, WhatNobodyImportsIsNotRead) {
  EXPECT_FALSE(reads_content("/usr/lib/python3.11/json/__pycache__/tool.cpython-311.pyc"));
}

TEST_F(PythonImportsTest, SourceIsReadOnlyWithoutBytecode) {
  EXPECT_FALSE(reads_content("/usr/lib/python3.11/json/decoder.py"));
  files.add_file("/opt/late.py", "x = 1\n");
  files.add_file("/opt/app.py", "import late\n");
  EXPECT_TRUE(reads_content("/opt/late.py"));
}

TEST_F(PythonImportsTest, NeedsAnInterpreter) {
  files.add_link("/usr/bin/python3", "nowhere");
  EXPECT_FALSE(reads_content("/opt/__pycache__/helper.cpython-311.pyc"));
}

}  // namespace
}  // namespace forerun::image
