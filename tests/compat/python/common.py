"""What the stories of all clients have in common."""

import os
import time

URL = os.environ["STORY_URL"]
USER = os.environ["STORY_USER"]
PASSWORD = os.environ["STORY_PASSWORD"]
# A folder of the story's own.
FOLDER = os.environ["STORY_FOLDER"]

# With `SLOW` it never ends by itself.
JOB = """<?xml version='1.1' encoding='UTF-8'?>
<flow-definition plugin="workflow-job@1400">
  <description>%s</description>
  <properties>
    <hudson.model.ParametersDefinitionProperty>
      <parameterDefinitions>
        <hudson.model.StringParameterDefinition>
          <name>WHO</name>
          <defaultValue>nobody</defaultValue>
        </hudson.model.StringParameterDefinition>
        <hudson.model.BooleanParameterDefinition>
          <name>SLOW</name>
          <defaultValue>false</defaultValue>
        </hudson.model.BooleanParameterDefinition>
      </parameterDefinitions>
    </hudson.model.ParametersDefinitionProperty>
  </properties>
  <definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition" plugin="workflow-cps@3900">
    <script>node {
    if (params.SLOW) { sleep 3600 }
    sh 'echo "hello $WHO" | tee hello.txt'
    archiveArtifacts 'hello.txt'
}</script>
    <sandbox>true</sandbox>
  </definition>
  <disabled>false</disabled>
</flow-definition>
"""


def until(what, look):
    """Looks until there is something, and gives it."""
    deadline = time.monotonic() + 60
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def equal(found, expected):
    assert found == expected, f"{found!r} instead of {expected!r}"
