//! What people write in their Jenkinsfiles.

use pipeline::act::{Began, BuildResult};

use crate::support::{Build, began};

fn fine(source: &str) -> Build {
    let build = Build::of_began(source, &Began { has_scm: true, ..began() });
    assert_eq!(build.result(), BuildResult::Success, "{source}\n{}\n{:#?}", build.error(), build.story());
    build
}

#[test]
fn a_matrix_of_branches_is_built_in_a_loop() {
    let build = fine(
        "def platforms = ['linux', 'mac']
def versions = [11, 17]
def tasks = [:]
for (p in platforms) {
  for (int i = 0; i < versions.size(); i++) {
    def platform = p
    def version = versions[i]
    tasks[\"${platform}-jdk${version}\"] = {
      node(platform) {
        stage(\"Build ${platform}/${version}\") {
          checkout scm
          withEnv([\"JAVA_HOME=/opt/jdk${version}\", 'PATH+JAVA=/opt/bin']) {
            sh \"./build.sh ${version}\"
          }
        }
      }
    }
  }
}
tasks.failFast = false
stage('All') { parallel tasks }",
    );
    assert_eq!(build.scripts().len(), 4);
}

#[test]
fn a_library_of_helpers_with_results_and_clean_up() {
    let build = fine(
        "#!groovy
def call(Map config = [:]) {
    def name = config.name ?: 'app'
    def tag = config.containsKey('tag') ? config.tag : \"${env.BUILD_NUMBER}-${commit().take(4)}\"
    return \"$name:$tag\".toString()
}
String commit() { return sh(script: 'out abcdef', returnStdout: true).trim() }
@NonCPS
def parse(String text) {
    def m = text =~ /(?m)^(\\w+)=(.*)$/
    def out = [:]
    while (m.find()) { out[m.group(1)] = m.group(2) }
    return out
}
node('docker') {
    try {
        stage('Prepare') {
            deleteDir()
            writeFile file: 'version.properties', text: 'major=1\\nminor=2'
            def props = parse(readFile('version.properties'))
            echo \"v${props.major}.${props['minor']}\"
        }
        stage('Image') {
            def image = call(name: 'web')
            echo image
            if (sh(script: \"docker inspect ${image}\", returnStatus: true) != 0) { error 'no image' }
        }
        currentBuild.description = \"built by ${env.JOB_NAME}\"
    } catch (err) {
        currentBuild.result = 'FAILURE'
        throw err
    } finally {
        if (currentBuild.currentResult == 'SUCCESS') { echo 'all good' }
        archiveArtifacts artifacts: '**/*.log', allowEmptyArchive: true
    }
}",
    );
    assert_eq!(build.echoes(), ["v1.2", "web:7-abcd", "all good"]);
}

#[test]
fn a_declarative_pipeline_with_everything() {
    let build = fine(
        "def deployTo(String where) { echo \"deploy $where ${env.VERSION}\" }
pipeline {
    agent { label 'linux && docker' }
    options {
        timeout(time: 30, unit: 'MINUTES')
        buildDiscarder(logRotator(numToKeepStr: '10'))
        timestamps()
    }
    parameters {
        string(name: 'WHO', defaultValue: 'x', description: 'who')
        booleanParam(name: 'FLAG', defaultValue: true, description: '')
    }
    environment {
        VERSION = \"1.0.${BUILD_NUMBER}\"
        FULL = \"${VERSION}-${params.WHO}\"
    }
    stages {
        stage('Checkout') { steps { checkout scm
 script { env.COMMIT = sh(returnStdout: true, script: 'out cafe').trim() } } }
        stage('Test') {
            parallel {
                stage('Unit') { steps { sh 'make unit' }
 post { always { echo 'unit done' } } }
                stage('Lint') { agent any
 when { expression { return params.FLAG } }
 steps { sh 'make lint' } }
            }
        }
        stage('Deploy') {
            when { allOf { environment name: 'FULL', value: '1.0.7-world'
 not { equals expected: 'x', actual: currentBuild.result } } }
            environment { WHERE = 'prod' }
            steps {
                script {
                    ['a', 'b'].each { region -> deployTo(\"$region-${env.WHERE}\") }
                }
                retry(2) { sh 'deploy' }
            }
        }
    }
    post {
        success { echo \"ok ${env.COMMIT} ${env.GIT_COMMIT}\" }
        always { script { if (currentBuild.currentResult != 'SUCCESS') { echo 'mail' } } }
    }
}",
    );
    let echoes = build.echoes();
    assert_eq!(echoes[1..], ["deploy a-prod 1.0.7", "deploy b-prod 1.0.7", "ok cafe abc123"], "{echoes:?}");
}

#[test]
fn values_are_worked_with_in_many_ways() {
    let build = fine(
        "def changed = ['src/a.rs', 'docs/b.md', 'src/c.rs']
def byTop = changed.groupBy { it.split('/')[0] }.collectEntries { k, v -> [k, v.size()] }
echo \"$byTop\"
def words = 'the quick brown fox'.split(' ').collect { it[0].toUpperCase() + it.substring(1) }.join(' ')
echo words
def matrix = [[1, 2], [3, 4]]
echo matrix.collect { row -> row.sum() }.toString()
def total = 0
(1..10).each { n -> if (n % 2) return; total += n }
echo \"total ${total}\"
def cfg = [servers: [[name: 'a', port: 80], [name: 'b', port: 81]]]
cfg.servers.findAll { it.port > 80 }.each { s -> echo \"${s.name}:${s.port}\" }
echo cfg.servers*.name.join('|')
def (first, rest) = [changed.head(), changed.tail()]
echo \"$first ${rest.size()}\"
def text = \"\"\"
  line one
  line two
\"\"\".stripIndent().trim()
echo text.readLines().last()
def v = '1.10.2'.tokenize('.')*.toInteger()
echo \"${v} ${v.max()} ${[1, 9, 2] <=> null ?: 0}\".replace(' 1', '')
def compare = { a, b -> a.size() <=> b.size() ?: a <=> b }
echo(['ccc', 'a', 'bb', 'aa'].sort(compare).toString())
switch (env.BRANCH_NAME) { case ~/release\\/.*/: echo 'rel'; break; case null: echo 'none'; break; default: echo 'other' }
def n = params.COUNT ? params.COUNT as Integer : 3
echo \"${'ab' * n} ${n.toString().padLeft(3, '0')} ${Math.round(2.5)} ${10.0 / 4} ${'%.1f'.format(2.25)}\"
def closures = [add: { a, b -> a + b }, neg: { -it }]
echo \"${closures.add(1, 2)} ${closures['neg'](5)}\"
assert closures.keySet() == ['add', 'neg'] as Set
echo(true ? (false ?: 'elvis') : 'no')",
    );
    let echoes = build.echoes();
    assert_eq!(echoes[0], "[src:2, docs:1]");
    assert_eq!(echoes[1], "The Quick Brown Fox");
    assert_eq!(echoes[2], "[3, 7]");
    assert_eq!(echoes[3], "total 30");
    assert_eq!(echoes[4..7], ["b:81", "a|b", "src/a.rs 2"]);
    assert_eq!(echoes[7], "line two");
    assert_eq!(echoes[9], "[a, aa, bb, ccc]");
    assert_eq!(echoes[10..], ["none", "ababab 003 3 2.5 2.3", "3 -5", "elvis"]);
}

#[test]
fn old_habits_still_work() {
    let build = fine(
        "import groovy.json.*
import java.util.regex.Pattern
node {
  stage 'ok', { echo 'x' }
}
def map = new HashMap<String, Integer>()
map.put('a', 1)
for (Map.Entry e : map.entrySet()) { println \"${e.getKey()}=${e.getValue()}\" }
for (def e in [x: 1]) { println e.key }
String s = \"n: ${1}\"
int i = 5
List<String> l = new ArrayList<>()
l.add(s)
l.addAll(['q'])
final boolean b = l.contains('q')
println l.size() + ' ' + b
steps.echo 'steps'
this.echo('this')
if (env.CHANGE_ID != null && env.CHANGE_ID) { echo 'pr' }
def json = JsonOutput.prettyPrint(JsonOutput.toJson([a: [1, 2], b: [:]]))
println json.readLines().size()
echo \"${Pattern.compile('a+').matcher('caat').find()} ${'x'.class} ${[1,2] as int[]}\"
def result = [1, 2, 3].with { it.size() }
echo \"$result ${result?.toString()?.length() ?: 0}\"
try { throw new hudson.AbortException('halt') } catch (hudson.AbortException | IllegalStateException e) { echo e.message }
sleep time: 1, unit: 'SECONDS'
echo \"${currentBuild.getNumber()} ${currentBuild.fullDisplayName} ${currentBuild.durationString}\"",
    );
    assert_eq!(build.echoes()[..4], ["x", "a=1", "x", "2 true"], "{:?}", build.echoes());
}
