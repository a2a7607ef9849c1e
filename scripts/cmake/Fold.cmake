# SPDX-License-Identifier: MIT
# Compiler settings and the few functions the folders' CMake files are made of.

add_library(fold_settings INTERFACE)
target_include_directories(fold_settings INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(fold_settings INTERFACE
    _GNU_SOURCE _FILE_OFFSET_BITS=64 FOLD_VERSION="${PROJECT_VERSION}"
    $<$<BOOL:${FOLD_LOCK_CHECK}>:FOLD_LOCK_CHECK>)
set(fold_flags
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
    -Wpointer-arith -Wcast-qual -Wwrite-strings -fno-common -fvisibility=hidden
    -fstack-protector-strong
    $<$<BOOL:${FOLD_WERROR}>:-Werror>
    $<$<C_COMPILER_ID:Clang>:-Wthread-safety>)
target_compile_options(fold_settings INTERFACE "$<$<COMPILE_LANGUAGE:C>:${fold_flags}>")
if(FOLD_SANITIZE)
    target_compile_options(fold_settings INTERFACE
        "$<$<COMPILE_LANGUAGE:C>:-fsanitize=${FOLD_SANITIZE};-fno-omit-frame-pointer>")
    target_link_options(fold_settings INTERFACE -fsanitize=${FOLD_SANITIZE})
endif()

# fold_library(name [sources are *.c below the folder] DEPS targets...)
function(fold_library name)
    cmake_parse_arguments(ARG "" "" "DEPS;SUBDIRS;EXCLUDE" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS *.c)
    foreach(sub ${ARG_SUBDIRS})
        file(GLOB more CONFIGURE_DEPENDS ${sub}/*.c)
        list(APPEND sources ${more})
    endforeach()
    foreach(gone ${ARG_EXCLUDE})
        list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/${gone})
    endforeach()
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC fold_settings ${ARG_DEPS} Threads::Threads)
endfunction()

# Every header must compile alone.
function(fold_check_headers name)
    file(GLOB_RECURSE headers RELATIVE ${PROJECT_SOURCE_DIR} CONFIGURE_DEPENDS *.h)
    set(units)
    foreach(header ${headers})
        string(REPLACE "/" "_" unit ${header})
        set(path ${CMAKE_CURRENT_BINARY_DIR}/headers/${unit}.c)
        file(CONFIGURE OUTPUT ${path} CONTENT "#include \"${header}\"\n#include \"${header}\"\ntypedef int fold_not_empty;\n")
        list(APPEND units ${path})
    endforeach()
    if(units)
        add_library(${name}_headers OBJECT ${units})
        target_link_libraries(${name}_headers PRIVATE ${name})
    endif()
endfunction()
